// The page of `pad view`: the splats of a model, turned with the mouse.
import { Color, PerspectiveCamera, Scene, Vector3, WebGLRenderer } from 'three';
import { OrbitControls } from 'three/addons/controls/OrbitControls.js';
import { SparkRenderer, SplatMesh } from '@sparkjsdev/spark';

const settings = JSON.parse(document.getElementById('settings').textContent);
const text = document.getElementById('ply').textContent;
const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const renderer = new WebGLRenderer({ antialias: false, preserveDrawingBuffer: true });
document.body.append(renderer.domElement);
const scene = new Scene();
scene.background = new Color(0xffffff);
scene.add(new SparkRenderer({ renderer }));

const camera = new PerspectiveCamera(40, 1, settings.radius / 50, settings.radius * 100);
const center = new Vector3(...settings.center);
camera.up.set(0, 0, 1);
camera.position.copy(center).add(new Vector3(1.7, 1.2, 1.2).multiplyScalar(settings.radius));
const controls = new OrbitControls(camera, renderer.domElement);
controls.target.copy(center);
controls.update();

function resize() {
  renderer.setSize(window.innerWidth, window.innerHeight);
  camera.aspect = window.innerWidth / window.innerHeight;
  camera.updateProjectionMatrix();
}
window.addEventListener('resize', resize);
resize();

const mesh = new SplatMesh({ fileBytes: bytes, fileType: 'ply' });
scene.add(mesh);
let frames = 0;
renderer.setAnimationLoop(() => {
  controls.update();
  renderer.render(scene, camera);
  // a few frames after loading the splats are sorted: what tests wait for
  if (mesh.isInitialized && ++frames === 5) document.title = `${settings.title} - ready`;
});
