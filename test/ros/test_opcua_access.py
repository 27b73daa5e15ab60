"""Users, passwords and certificates, at the server of asyncua."""

import logging
import time

import pytest

from helpers.plc_servers import SecuredOpcUaPlc, make_certificate
from pad_inspection.ros import interfaces
from pad_inspection.ros.graph import NodeDiedError
from pad_inspection.ros.plc.link import PlcError, PlcRefusedError, make_link
from pad_inspection.ros.plc.variable_map import read_map

SECURE = 'Basic256Sha256,SignAndEncrypt'


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """A controller; in its folder are also certificates a, and b without URI."""
    folder = tmp_path_factory.mktemp('plc')
    make_certificate(folder, 'a', 'urn:test:line')
    make_certificate(folder, 'b', '')
    with SecuredOpcUaPlc(folder) as made:
        yield made


@pytest.fixture
def secured(server):
    server.reset()
    server.asked.clear()
    return server


def password_file(tmp_path, text=SecuredOpcUaPlc.PASSWORD):
    path = tmp_path / 'password'
    path.write_text(f'{text}\n')
    return str(path)


def security(*files):
    return ','.join([SECURE, *map(str, files)])


def exchange(plc, tmp_path, **access):
    link = make_link(read_map(plc.write_map(tmp_path / 'map.yaml', **access)), 5.0)
    try:
        link.connect()
        link.write({'object_id': 'piece 3'})
        return link.read(['object_id'])
    finally:
        link.close()


@pytest.mark.parametrize('names_the_server', [True, False])
def test_signed_and_encrypted_with_user_and_password(secured, tmp_path, names_the_server):
    files = [*secured.client, *([secured.certificate] if names_the_server else [])]
    access = {'user': 'pad', 'password_file': password_file(tmp_path)}
    found = exchange(secured, tmp_path, **access, security=security(*files))
    assert found == {'object_id': 'piece 3'}
    assert secured.asked == [('pad', True)]


def test_user_and_password_alone(secured, tmp_path):
    access = {'user': 'pad', 'password_file': password_file(tmp_path)}
    assert exchange(secured, tmp_path, **access) == {'object_id': 'piece 3'}
    assert secured.asked == [('pad', False)]


def test_a_stranger_is_told_so(secured, tmp_path, caplog):
    caplog.set_level(logging.INFO)  # at DEBUG asyncua logs whole requests
    wrong = tmp_path / 'wrong'
    wrong.write_text('falsch-4712')
    for secure in ({}, {'security': security(*secured.client)}):
        with pytest.raises(PlcRefusedError, match="user 'pad'.*BadUserAccessDenied"):
            exchange(secured, tmp_path, user='pad', password_file=str(wrong), **secure)
    with pytest.raises(PlcRefusedError, match='anonymous.*BadIdentityTokenRejected'):
        exchange(secured, tmp_path)
    right = {'user': 'pad', 'password_file': password_file(tmp_path)}
    stranger = make_certificate(tmp_path, 'stranger', 'urn:test:line')
    with pytest.raises(PlcRefusedError, match=f'{SECURE}.*BadCertificateUntrusted'):
        exchange(secured, tmp_path, security=security(*stranger), **right)
    # a controller with another certificate than the map file names
    with pytest.raises(PlcError):
        exchange(secured, tmp_path, security=security(*secured.client, stranger[0]), **right)
    assert 'falsch-4712' not in caplog.text and secured.PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ('access', 'wanted'),
    [
        ({'user': 'pad'}, 'wanted user and password_file'),
        ({'password_file': '/nowhere'}, 'wanted user and password_file'),
        ({'user': 'pad', 'password_file': '{0}/none'}, "password_file '.*none'.*No such file"),
        ({'user': 'pad', 'password_file': '{0}'}, 'Is a directory'),
        ({'user': 'pad', 'password_file': '{0}/empty'}, 'is empty, wanted the password'),
        ({'user': 'pad', 'password_file': '{0}/binary'}, 'cannot be read.*utf-8'),
        ({'security': 'Basic256Sha256'}, 'security has 1 parts, wanted policy,mode'),
        ({'security': 'Basic1,Sign,a,b'}, "policy is 'Basic1', wanted one of .*Basic256Sha256"),
        ({'security': 'Basic256Sha256,Seal,a,b'}, "mode is 'Seal', wanted one of"),
        ({'security': f'{SECURE},{{0}}/none,{{0}}/none'}, "certificate '.*none' cannot be read"),
        ({'security': f'{SECURE},{{0}}/empty,{{1}}/a.key.pem'}, 'no certificate that can be used'),
        ({'security': f'{SECURE},{{1}}/a.pem,{{1}}/a.pem'}, 'no private key that can be used'),
        ({'security': f'{SECURE},{{1}}/a.pem,{{1}}/b.key.pem'}, 'is not the key of'),
        ({'security': f'{SECURE},{{1}}/b.pem,{{1}}/b.key.pem'}, 'no URI in its subjectAltName'),
        ({'endpoint': 'opc.tcp://pad:4711@127.0.0.1:4840'}, 'wanted user and password_file'),
    ],
)
def test_access_that_cannot_work_ends_the_start(server, tmp_path, access, wanted):
    (tmp_path / 'empty').write_text('')
    (tmp_path / 'binary').write_bytes(b'\xff\xfe')
    folder = server.certificate.parent
    given = {name: value.format(tmp_path, folder) for name, value in access.items()}
    path = server.write_map(tmp_path / 'map.yaml', **given)
    with pytest.raises(ValueError, match=wanted) as error:
        make_link(read_map(path), 1.0)
    assert '4711' not in str(error.value)


def test_the_node_with_a_wrong_password_stops_the_line(line, secured):
    begin = time.monotonic()
    file = line.path / 'password'
    file.write_text('falsch-4712')
    path = secured.write_map(
        line.path / 'map.yaml',
        user='pad',
        password_file=str(file),
        security=security(*secured.client),
    )
    line.start_line_controller(map_file=str(path), fault_timeout=0.5, diagnostics_period=0.2)
    stops = line.received[interfaces.STOP_REQUEST.name]
    line.wait(lambda: any(m.stop and 'BadUserAccessDenied' in m.message for m in stops), 'stop')

    def told():
        found = line.diagnostics('line_controller_node')
        return found is not None and 'BadUserAccessDenied' in found.message

    line.wait(told, 'diagnostics')
    # a controller may lock a user out who tries often
    assert 1 <= len(secured.asked) <= 1 + (time.monotonic() - begin) / 10
    assert line.graph.stop()['/line_controller_node'] == 0
    log = (line.path / 'log' / 'line_controller_node.log').read_text()
    assert "user 'pad'" in log and 'BadUserAccessDenied' in log
    assert 'falsch-4712' not in log and 'Traceback' not in log


def test_the_node_without_its_password_does_not_start(line, secured):
    missing = line.path / 'nowhere'
    path = secured.write_map(line.path / 'map.yaml', user='pad', password_file=str(missing))
    with pytest.raises(NodeDiedError, match='password_file .*nowhere.* cannot be read: No such'):
        line.start_line_controller(map_file=str(path))
    assert line.graph.process('/line_controller_node').returncode == 2
