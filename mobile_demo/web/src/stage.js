// Moving the region on the picture: by pointer, and by arrow keys.

/**
 * Call `moved` with a point in 0..1 of the picture.
 * @param {HTMLCanvasElement} stage
 * @param {{isMovable: () => boolean, centre: () => {x: number, y: number}, moved: (x: number, y: number) => void}} region
 */
export function makeMovable(stage, { isMovable, centre, moved }) {
  const point = (/** @type {PointerEvent} */ event) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    const x = (event.clientX - left) / width;
    moved(stage.classList.contains('mirrored') ? 1 - x : x, (event.clientY - top) / height);
  };
  stage.addEventListener('pointerdown', (event) => {
    if (!isMovable()) return;
    stage.setPointerCapture(event.pointerId);
    point(event);
  });
  stage.addEventListener('pointermove', (event) => {
    if (isMovable() && stage.hasPointerCapture(event.pointerId)) point(event);
  });
  /** @type {Record<string, [number, number]>} */
  const steps = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] };
  stage.addEventListener('keydown', (event) => {
    const step = steps[event.key];
    if (!step || !isMovable()) return;
    event.preventDefault();
    const { x, y } = centre();
    const across = stage.classList.contains('mirrored') ? -step[0] : step[0];
    moved(x + across, y + step[1]);
  });
}
