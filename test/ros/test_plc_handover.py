"""Handover of verdicts to the servers of pymodbus and asyncua, over sockets of this machine."""

import math
import time
from pathlib import Path

import pytest
import yaml

from helpers.plc_servers import ModbusPlc
from pad_inspection.datatypes import Reason
from pad_inspection.ros.node_configs import LineControllerNodeConfig
from pad_inspection.ros.plc.handed import Handed
from pad_inspection.ros.plc.handover import Handover
from pad_inspection.ros.plc.link import PlcError, make_link
from pad_inspection.ros.plc.variable_map import VARIABLES, read_map

PATIENCE_S = 30.0


def make(plc, tmp_path, **options):
    variables = read_map(plc.write_map(tmp_path / 'map.yaml'))
    values = {'heartbeat_period': 0.05, 'retry_period': 0.05, 'poll_period': 0.005} | options
    config = LineControllerNodeConfig(**values)
    resets, errors = [], []
    handover = Handover(
        make_link(variables, config.request_timeout),
        variables,
        config,
        on_reset=lambda: resets.append(1),
        on_error=errors.append,
    )
    handover.trusted = True
    handover.resets, handover.errors = resets, errors
    return handover


def verdict(sequence, reject=False, **values):
    name = f'piece-{sequence}'
    made = Handed(sequence, name, reject, 2 if reject else 1, int(reject), 0.25, 3, 2)
    return made.__class__(**{**made.__dict__, **values})


def run(handover, condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f'no {what}; errors: {handover.errors[-3:]}'
        time.sleep(min(0.02, handover.step()))


def test_link_carries_every_type(plc, tmp_path):
    variables = read_map(plc.write_map(tmp_path / 'map.yaml'))
    link = make_link(variables, 2.0)
    link.connect()
    plc.frozen = True
    values = {
        'heartbeat': 65535,
        'ready': True,
        'object_id': 'Träger 7',
        'sequence': 4_000_000_000,
        'score': 0.375,
        'reject': True,
        'reason': 106,
    }
    link.write(values)
    found = {name: plc._run(plc.get(name)) for name in values}
    assert found == values
    link.write({'score': math.nan, 'object_id': 'x' * 100})
    assert math.isnan(plc._run(plc.get('score')))
    assert set(link.read(['acknowledge', 'controller_heartbeat', 'reset_stop'])) == {
        'acknowledge',
        'controller_heartbeat',
        'reset_stop',
    }
    link.close()
    with pytest.raises(PlcError):
        link.read(['acknowledge'])


def test_verdicts_arrive_once_and_in_order(plc, tmp_path):
    handover = make(plc, tmp_path)
    for sequence in (10, 11, 12):
        assert handover.put(verdict(sequence, reject=sequence == 11))
    # sent again after a crash; a score that is no number is the same score again
    assert not handover.put(verdict(11, reject=True))
    assert handover.put(verdict(13, score=math.nan))
    assert not handover.put(verdict(13, score=float('nan')))
    assert handover.counts['repeated signals'] == 2
    run(handover, lambda: not len(handover), 'acknowledge')
    assert [(t.sequence, t.object_id, t.reject) for t in plc.taken] == [
        (10, 'piece-10', False),
        (11, 'piece-11', True),
        (12, 'piece-12', False),
        (13, 'piece-13', False),
    ]
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    assert handover.fault == '' and not plc.values['stop_request']
    assert handover.counts['passes handed over'] == 3
    handover.close()
    end = time.monotonic() + PATIENCE_S
    while not plc.rejects_by_itself:
        assert time.monotonic() < end


def test_nothing_is_lost_while_the_controller_is_down(plc, tmp_path):
    handover = make(plc, tmp_path, fault_timeout=0.2)
    handover.put(verdict(1))
    run(handover, lambda: not len(handover), 'acknowledge')
    plc.down()
    handover.put(verdict(2, valid_until=time.monotonic() + 0.05))
    handover.put(verdict(3, valid_until=time.monotonic() + 1000))
    run(handover, lambda: 'not answered' in handover.fault, 'fault')
    assert not handover.connected
    plc.up()
    run(handover, lambda: not len(handover), 'acknowledge')
    # the gate has acted without the second: it is told what it did
    assert [(t.sequence, t.reject) for t in plc.taken] == [(1, False), (2, True), (3, False)]
    assert plc.taken[1].reason == Reason.DEADLINE_MISSED
    assert handover.counts['passes too late'] == 1
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    assert handover.fault == ''
    handover.close()


def test_a_controller_that_does_not_take_verdicts_is_a_fault(plc, tmp_path):
    handover = make(plc, tmp_path, fault_timeout=0.3)
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    plc.frozen = True
    handover.put(verdict(5, valid_until=time.monotonic() + 0.1))
    run(handover, lambda: plc.values['stop_request'], 'stop request')
    assert 'not been acknowledged' in handover.fault and handover.connected
    assert not plc.values['ready']
    plc.frozen = False
    run(handover, lambda: not len(handover), 'acknowledge')
    assert [(t.sequence, t.reject) for t in plc.taken] == [(5, True)]
    run(handover, lambda: not plc.values['stop_request'], 'end of the stop')
    handover.close()


def test_heartbeat_of_the_controller_is_watched_and_its_reset_heard(plc, tmp_path):
    handover = make(plc, tmp_path, fault_timeout=0.3)
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    plc.reset_stop = True
    run(handover, lambda: handover.resets, 'reset')
    run(handover, lambda: handover.counts['connections'], 'connection')
    plc.frozen = True
    run(handover, lambda: 'stood still' in handover.fault, 'fault')
    assert handover.resets == [1]
    handover.close()


def test_a_new_process_goes_on_where_the_controller_is(plc, tmp_path):
    first = make(plc, tmp_path)
    for sequence in (1, 2):
        first.put(verdict(sequence))
    run(first, lambda: not len(first), 'acknowledge')
    first.close()
    # what reject_node keeps for late subscribers comes before the connection, or after it
    second = make(plc, tmp_path)
    for sequence in (1, 2, 3):
        second.put(verdict(sequence, old=True))
    run(second, lambda: not len(second) and second.connected, 'acknowledge')
    second.close()
    third = make(plc, tmp_path)
    run(third, lambda: third.connected, 'connection')
    assert not third.put(verdict(3, old=True))
    assert third.put(verdict(4, old=True)) and third.put(verdict(2))  # not old: a new count
    run(third, lambda: not len(third), 'acknowledge')
    third.close()
    assert [t.sequence for t in plc.taken] == [1, 2, 3, 4, 2]


def test_a_number_that_was_given_twice_is_a_fault_until_the_reset(plc, tmp_path):
    handover = make(plc, tmp_path)
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    plc.frozen = True
    handover.put(verdict(5))
    run(handover, lambda: plc._run(plc.get('sequence')) == 5, 'offer')
    other = verdict(5, reject=True, object_id='x' * 30 + '\x1b[31m')
    assert not handover.put(other) and not handover.put(other)
    assert handover.counts['colliding sequence numbers'] == 2
    assert "given to 'piece-5' too" in handover.fault and '\x1b' not in handover.fault
    run(handover, lambda: plc._run(plc.get('reject')), 'reject')
    plc.frozen = False
    run(handover, lambda: not len(handover), 'acknowledge')
    # nobody knows which of the two may pass
    assert [(t.object_id, t.reject, t.reason) for t in plc.taken] == [
        ('piece-5', True, Reason.INTERNAL_ERROR)
    ]
    assert handover.counts['passes too late'] == 0
    # what comes later is handed over, but does not end the fault
    handover.put(verdict(6))
    run(handover, lambda: not len(handover), 'acknowledge')
    run(handover, lambda: plc.values['stop_request'], 'stop request')
    assert plc.rejects_by_itself
    assert 'number 5' in handover.reset() and handover.reset() == ''
    run(handover, lambda: not plc.rejects_by_itself, 'ready')
    assert not handover.put(verdict(0)) and 'no sequence number' in handover.fault
    run(handover, lambda: plc.rejects_by_itself, 'end of ready')
    handover.close()


def test_what_the_controller_took_of_others_is_not_taken_for_ours(plc, tmp_path):
    plc.down()
    plc._acknowledge = 7
    plc.up()
    handover = make(plc, tmp_path)
    run(handover, lambda: handover.connected, 'connection')
    handover.put(verdict(7, reject=True))
    handover.put(verdict(8))
    handover.put(verdict(3))
    run(handover, lambda: not len(handover), 'acknowledge')
    assert [t.sequence for t in plc.taken] == [8, 3]
    assert handover.counts['rejects handed over'] == 0
    assert handover.counts['sequence numbers out of order'] == 1
    run(handover, lambda: plc.values['stop_request'] and plc.rejects_by_itself, 'stop request')
    assert 'number 7' in handover.fault
    handover.close()


def test_an_id_that_has_no_room_does_not_pass(plc, tmp_path):
    handover = make(plc, tmp_path)
    handover.put(verdict(1, object_id='ä' * 16))
    handover.put(verdict(2, object_id='ä' * 50_000))
    handover.put(verdict(3, object_id='\ud800'))
    run(handover, lambda: not len(handover), 'acknowledge')
    assert [t.reject for t in plc.taken] == [False, True, True]
    assert plc.taken[0].object_id == 'ä' * 16
    assert set(plc.taken[1].object_id) == {'ä'} and len(plc.taken[1].object_id) <= 127
    assert handover.counts['object ids that do not fit'] == 2
    handover.close()


@pytest.mark.parametrize(
    ('change', 'wanted'),
    [
        ({'protocol': 'smoke'}, "protocol is 'smoke', wanted one of"),
        ({'endpoint': 'http://plc'}, 'wanted tcp://<host>:502'),
        ({'speed': 3}, "unknown key.*'speed'"),
        ({'word_order': 'middle'}, 'wanted big or little'),
        ({'device_id': 'one'}, "device_id is 'one', wanted a whole number from 0 to 255"),
        ({'device_id': 256}, 'device_id is 256'),
        ({'device_id': -1}, 'device_id is -1'),
        ({'device_id': True}, 'device_id is True'),
        ({'reject': {'table': 'coil', 'address': True}}, 'address is True'),
        ({'variables': {}}, 'heartbeat.*are missing'),
        ({'sequence': {'table': 'holding', 'address': 101, 'type': 'uint32'}}, 'share holding'),
        ({'sequence': {'table': 'holding', 'address': 4, 'type': 'uint16'}}, 'uint32'),
        ({'sequence': {'table': 'coil', 'address': 4}}, 'a coil holds a bool only'),
        ({'reject': {'table': 'input', 'address': 4}}, 'wanted one of .*holding'),
        ({'reject': {'table': 'coil', 'address': 70000}}, 'wanted 0 to 65535'),
        ({'object_id': {'table': 'holding', 'address': 200}}, 'length is None'),
        ({'colour': {'table': 'coil', 'address': 4}}, 'unknown variable.*colour'),
    ],
)
def test_a_bad_map_is_told(tmp_path, change, wanted):
    path = ModbusPlc().write_map(tmp_path / 'map.yaml')
    content = yaml.safe_load(path.read_text())
    for name, value in change.items():
        own = name in ('protocol', 'endpoint', 'speed', 'word_order', 'device_id', 'variables')
        (content if own else content['variables'])[name] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=wanted) as error:
        read_map(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('name', ['plc_modbus.yaml', 'plc_opcua.yaml'])
def test_shipped_maps_have_every_variable(name):
    path = Path(__file__).parents[2] / 'config' / name
    assert set(read_map(path).variables) == set(VARIABLES)
    assert read_map(path, read_map(path).endpoint.replace('.10:', '.11:')).endpoint != ''


def test_node_ids_by_the_uri_of_their_namespace(plc, tmp_path):
    path = plc.write_map(tmp_path / 'map.yaml')
    if not hasattr(plc, '_nodes'):
        return
    content = yaml.safe_load(path.read_text())
    for place in content['variables'].values():
        place['node'] = place['node'].replace('ns=2;', 'nsu=urn:test:plc;') + '\n'
    path.write_text(yaml.safe_dump(content))
    link = make_link(read_map(path), 2.0)
    link.connect()
    plc.frozen = True
    link.write({'sequence': 77})
    assert plc._run(plc.get('sequence')) == 77
    link.close()
    path.write_text(path.read_text().replace('urn:test:plc', 'urn:other:plc'))
    link = make_link(read_map(path), 2.0)
    with pytest.raises(PlcError, match="no namespace 'urn:other:plc', it has .*urn:test:plc"):
        link.connect()
    link.close()


def test_a_wrong_place_is_told(plc, tmp_path):
    path = plc.write_map(tmp_path / 'map.yaml')
    text = path.read_text()
    wrong = text.replace('address: 100', 'address: 5000').replace('.acknowledge', '.nowhere')
    path.write_text(wrong)
    assert wrong != text
    link = make_link(read_map(path), 2.0)
    with pytest.raises(PlcError, match='acknowledge.*BadNodeIdUnknown|holding 5000'):
        link.connect()
        link.read(['acknowledge'])
    link.close()
