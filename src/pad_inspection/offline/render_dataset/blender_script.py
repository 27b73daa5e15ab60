"""Renders scenes with Cycles; runs in Blender's own Python environment, in a process of its own.

It needs only bpy and numpy, and nothing of this project. Requests are JSON lines on standard
input, answers JSON lines on standard output (what Blender prints goes to standard error):

    {"device": "cuda"}                                   see that Cycles has such a device
    {"open": "scene.json"}                               build a scene
    {"render": "picture.png", "world_from_gl": [[...]]}  render it from an OpenGL camera, m

See blender.py for what a scene file holds. Blender's unit is a centimetre here: the lamps and the
bevels were chosen at that scale.
"""

import json
import math
import os
import sys

import bpy
import numpy as np
from mathutils import Matrix

UNITS_PER_METRE = 100.0
SMOOTH_BELOW_DEG = 32.0


def main():
    """Answer requests until the input ends."""
    # Blender's C code prints to file descriptor 1: keep a copy for the answers
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            handle(json.loads(line))
            answer = {'ok': True}
        except Exception as error:  # the caller decides what to do about any of them
            answer = {'ok': False, 'error': f'{type(error).__name__}: {error}'}
        answers.write(json.dumps(answer) + '\n')
        answers.flush()


def handle(request):
    """Do what one request says."""
    if 'device' in request:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        choose_device(request['device'])
        return
    if 'open' in request:
        with open(request['open'], encoding='utf-8') as stream:
            build(json.load(stream), os.path.dirname(request['open']))
        return
    pose = np.array(request['world_from_gl'])
    pose[:3, 3] *= UNITS_PER_METRE
    bpy.context.scene.camera.matrix_world = Matrix(pose.tolist())
    bpy.context.scene.render.filepath = request['render']
    bpy.ops.render.render(write_still=True)
    if not os.path.isfile(request['render']):
        raise RuntimeError('Blender wrote no picture')


def build(scene, folder):
    """Replace everything by a scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    materials = {name: make_material(name, m, folder) for name, m in scene['materials'].items()}
    if scene['part_ids']:
        materials = id_materials(scene)
    meshes = np.load(os.path.join(folder, scene['meshes']))
    data = {}
    for part in scene['parts']:
        if part['mesh'] not in data:
            data[part['mesh']] = make_mesh(part['mesh'], meshes, materials)
        add_part(part, data[part['mesh']], materials)
    for box in scene['boxes']:
        add_box(box, materials)
    if scene['floor']:
        add_floor(scene['floor'], materials)
    add_lamps(scene['lighting'])
    add_camera(scene)
    set_up_cycles(scene)


def linear(rgb):
    """Linear colour of sRGB in 0..1."""
    c = np.asarray(rgb, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def make_material(name, values, folder):
    """A Principled material; clear plastic is a Fresnel mix with tinted transparency."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes['Principled BSDF']
    rgb = linear(values['rgb'])
    shader.inputs['Base Color'].default_value = (*rgb, 1)
    shader.inputs['Roughness'].default_value = values['roughness']
    shader.inputs['Metallic'].default_value = values['metallic']
    shader.inputs['IOR'].default_value = values['ior']
    if values.get('texture'):
        add_texture(tree, shader, values['texture'], folder)
    if values['alpha'] < 1:
        clear = tree.nodes.new('ShaderNodeBsdfTransparent')
        clear.inputs[0].default_value = (*np.clip(0.35 + 0.65 * rgb, 0, 1), 1)
        fresnel = tree.nodes.new('ShaderNodeLayerWeight')
        fresnel.inputs[0].default_value = 0.25
        share = tree.nodes.new('ShaderNodeMath')
        share.operation = 'MULTIPLY_ADD'
        share.inputs[1].default_value, share.inputs[2].default_value = 0.7, 0.18
        mix = tree.nodes.new('ShaderNodeMixShader')
        tree.links.new(fresnel.outputs['Fresnel'], share.inputs[0])
        tree.links.new(share.outputs[0], mix.inputs[0])
        tree.links.new(clear.outputs[0], mix.inputs[1])
        tree.links.new(shader.outputs[0], mix.inputs[2])
        tree.links.new(mix.outputs[0], tree.nodes['Material Output'].inputs[0])
    return material


def add_texture(tree, shader, texture, folder):
    """Let an image drive an input of a shader, placed by object coordinates."""
    image = tree.nodes.new('ShaderNodeTexImage')
    image.image = bpy.data.images.load(os.path.join(folder, texture['file']))
    image.image.colorspace_settings.name = 'sRGB' if texture['is_color'] else 'Non-Color'
    image.projection = 'BOX'
    coordinates = tree.nodes.new('ShaderNodeTexCoord')
    mapping = tree.nodes.new('ShaderNodeMapping')
    scale = 1 / (texture['size'] * UNITS_PER_METRE)
    mapping.inputs['Scale'].default_value = (scale, scale, scale)
    mapping.inputs['Location'].default_value = (*texture['offset'], 0)
    tree.links.new(coordinates.outputs['Object'], mapping.inputs[0])
    tree.links.new(mapping.outputs[0], image.inputs[0])
    tree.links.new(image.outputs[0], shader.inputs[texture['input']])


def id_materials(scene):
    """Materials that emit the part's number, and black ones."""
    found = {}
    for name in scene['materials']:
        found[name] = emission(name, 0)
    for part in scene['parts']:
        part['material'] = f'id{part["id"]}'
        found[part['material']] = emission(part['material'], part['id'])
    return found


def emission(name, number):
    """A material whose rendered 8-bit value is a number."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new('ShaderNodeEmission')
    node.inputs[0].default_value = (number / 255, number / 255, number / 255, 1)
    tree.links.new(node.outputs[0], tree.nodes['Material Output'].inputs[0])
    return material


def make_mesh(name, meshes, materials):
    """A part's mesh in its own frame; slot 0 takes the colour of the placement."""
    vertices, corners = meshes[f'{name}/vertices'], meshes[f'{name}/corners']
    sizes, slots = meshes[f'{name}/sizes'], meshes[f'{name}/slots']
    ends = np.cumsum(sizes)
    faces = [corners[e - s : e].tolist() for s, e in zip(sizes, ends)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces)
    mesh.materials.append(None)
    for slot in meshes[f'{name}/materials'].tolist():
        mesh.materials.append(materials[slot])
    mesh.polygons.foreach_set('material_index', slots.tolist())
    mesh.polygons.foreach_set('use_smooth', [True] * len(mesh.polygons))
    mesh.validate()
    mesh.update()
    mesh.set_sharp_from_angle(angle=math.radians(SMOOTH_BELOW_DEG))
    return mesh


def add_part(part, mesh, materials):
    """Place a part."""
    item = bpy.data.objects.new(f'part{part["id"]}', mesh)
    matrix = np.array(part['world_from_part'])
    matrix[:3] *= UNITS_PER_METRE
    item.matrix_world = Matrix(matrix.tolist())
    for index, slot in enumerate(item.material_slots):
        # in ID pictures a part's own colours are its number too
        if index == 0 or part['material'].startswith('id'):
            slot.link = 'OBJECT'
            slot.material = materials[part['material']]
    bpy.context.scene.collection.objects.link(item)


def add_box(box, materials):
    """Place a box with bevelled edges, its origin in its middle."""
    low, high = (UNITS_PER_METRE * np.array(box[k]) for k in ('low', 'high'))
    center = (low + high) / 2
    corners = [[(low, high)[i >> k & 1][k] for k in range(3)] for i in range(8)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    mesh = bpy.data.meshes.new('box')
    mesh.from_pydata([tuple(np.array(c) - center) for c in corners], [], faces)
    mesh.materials.append(materials[box['material']])
    item = bpy.data.objects.new('box', mesh)
    item.location = center.tolist()
    bevel = item.modifiers.new('bevel', 'BEVEL')
    bevel.width, bevel.segments = box['bevel'] * UNITS_PER_METRE, 2
    bpy.context.scene.collection.objects.link(item)


def add_floor(floor, materials):
    """Place a large square."""
    half = floor['size'] / 2 * UNITS_PER_METRE
    mesh = bpy.data.meshes.new('floor')
    corners = [(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    mesh.materials.append(materials[floor['material']])
    item = bpy.data.objects.new('floor', mesh)
    item.location = (0, 0, floor['height'] * UNITS_PER_METRE)
    bpy.context.scene.collection.objects.link(item)


def add_lamps(lighting):
    """A white surround and the area lights, which the camera does not see."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new('surround')
    scene.world.use_nodes = True
    surround = scene.world.node_tree.nodes['Background']
    surround.inputs[0].default_value = (1, 1, 1, 1)
    surround.inputs[1].default_value = lighting['surround']
    for lamp in lighting['lamps']:
        light = bpy.data.lights.new('lamp', 'AREA')
        light.size = lamp['size'] * UNITS_PER_METRE
        light.energy, light.color = lamp['power'], lamp['color']
        item = bpy.data.objects.new('lamp', light)
        item.location = (UNITS_PER_METRE * np.array(lamp['position'])).tolist()
        direction = -item.location.normalized()
        item.rotation_euler = direction.to_track_quat('-Z', 'Y').to_euler()
        item.visible_camera = False
        scene.collection.objects.link(item)


def add_camera(scene):
    """The camera; its picture is square and its principal point in the middle."""
    data = bpy.data.cameras.new('camera')
    data.angle = 2 * math.atan(scene['size'] / 2 / scene['focal'])
    data.clip_start, data.clip_end = 0.1, 2000
    item = bpy.data.objects.new('camera', data)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.scene.camera = item


def choose_device(device):
    """Let Cycles render on the CPU, or on all GPUs of a kind: 'cpu', 'cuda' or 'optix'."""
    cycles = bpy.context.scene.cycles
    if device == 'cpu':
        cycles.device = 'CPU'
        return
    kind = device.upper()
    preferences = bpy.context.preferences.addons['cycles'].preferences
    preferences.compute_device_type = kind
    preferences.get_devices()
    if not any(item.type == kind for item in preferences.devices):
        raise RuntimeError(f'Cycles finds no {kind} device')
    for item in preferences.devices:
        item.use = item.type == kind
    cycles.device = 'GPU'
    cycles.denoising_use_gpu = True


def set_up_cycles(scene):
    """Sampling, denoising, file format."""
    s = bpy.context.scene
    s.render.engine = 'CYCLES'
    c = s.cycles
    choose_device(scene['device'])
    c.samples, c.seed = scene['samples'], scene['seed']
    c.use_adaptive_sampling = False
    c.use_light_tree = False
    c.use_denoising = not scene['part_ids']
    c.denoiser = 'OPENIMAGEDENOISE'
    c.denoising_input_passes = 'RGB_ALBEDO_NORMAL'
    c.denoising_prefilter = 'FAST'
    c.denoising_quality = 'BALANCED'
    c.max_bounces, c.diffuse_bounces, c.glossy_bounces = 6, 3, 3
    c.transmission_bounces, c.transparent_max_bounces = 4, 12
    c.caustics_reflective = c.caustics_refractive = False
    c.sample_clamp_indirect = 4.0
    c.pixel_filter_type, c.filter_width = 'BLACKMAN_HARRIS', 1.5
    r = s.render
    r.resolution_x = r.resolution_y = scene['size']
    r.resolution_percentage = 100
    r.film_transparent = scene['transparent']
    r.use_persistent_data = True
    r.threads_mode, r.threads = 'FIXED', scene['threads']
    r.dither_intensity = 0
    r.image_settings.file_format = 'PNG'
    r.image_settings.color_mode = 'RGBA' if scene['transparent'] else 'RGB'
    r.image_settings.color_depth = '8'
    r.image_settings.compression = 15
    s.view_settings.view_transform, s.view_settings.look = 'Standard', 'None'
    if scene['part_ids']:
        # one sample in the middle of each pixel, values written as they are
        c.pixel_filter_type, c.filter_width = 'BOX', 0.01
        s.view_settings.view_transform = 'Raw'


if __name__ == '__main__':
    main()
