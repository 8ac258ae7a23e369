// The page with its network: labels what the camera, a photo or a video shows.

import { FrameGrabber, countCameras, decodePhoto, openCamera, openVideo } from './camera.js';
import { NAMES } from './engine.js';
import { Legend } from './legend.js';
import { findBackground, listParts, shareOfClasses } from './parts.js';
import { moveRegion, placeRegion } from './region.js';
import { Renderer } from './render.js';
import { makeMovable } from './stage.js';
import { Meter, button, element, fillSelect, input, say, select, showOptions, showProblem } from './ui.js';

/** @typedef {import('./engine.js').Engine} Engine */
/** @typedef {import('./protocol.js').Labelled} Labelled */

/** One page with its network. */
export class App {
  #stage = element('stage', HTMLCanvasElement);
  #grabber = new FrameGrabber();
  #meter = new Meter();
  #busy = false;
  #again = false;
  #paused = false;
  #lastFrame = 0;
  /** @type {import('./camera.js').LiveSource | null} */
  #live = null;
  /** @type {import('./region.js').Region} */
  #region = { kind: 'whole', zoom: 1, x: 0.5, y: 0.5 };
  /** @type {ImageBitmap | null} */
  #backdropPicture = null;
  /** What is on the stage; the tests compare it with Python. @type {Labelled | null} */
  labelled = null;
  /** What the network was asked to see of it, null for all. @type {import('./geometry.js').Rect | null} */
  lastRegion = null;
  /** Pictures that were labelled. */
  count = 0;

  /** @param {Engine} engine */
  constructor(engine) {
    const { labels, postprocess, preprocess } = engine.manifest;
    this.engine = engine;
    this.parts = listParts(labels.names);
    this.legend = new Legend(element('legend', HTMLElement), labels, () => this.redraw());
    this.renderer = new Renderer(this.#stage, labels);
    const wanted = this.parts.findIndex(({ name }) => name === 'hair' || name === 'lips');
    fillSelect(select('part'), this.parts.map(({ name }) => name), Math.max(0, wanted));
    const names = labels.names.map((name) => name.replaceAll('_', ' '));
    fillSelect(select('background'), names, findBackground(labels.names, postprocess.outside_label));
    // Stretching a whole frame would show the network faces out of shape.
    select('region').value = preprocess.resize === 'stretch' ? 'square' : 'whole';
    this.#bind();
    this.#readRegion();
  }

  /** The bytes that were labelled, as RGBA. */
  get frame() {
    return this.#grabber.read();
  }

  /** What the controls say. @returns {import('./render.js').Look} */
  get look() {
    const mode = document.querySelector('input[name="mode"]:checked');
    return {
      mode: /** @type {import('./render.js').Look['mode']} */ (/** @type {HTMLInputElement} */ (mode).value),
      opacity: Number(input('opacity').value) / 100,
      shown: this.legend.shown,
      background: Number(select('background').value),
      blurSteps: Number(input('radius').value),
      backdrop: input('backdrop').value,
      backdropPicture: this.#backdropPicture,
      part: this.parts[Number(select('part').value)].classes,
      tint: input('tint').value,
      strength: Number(input('strength').value) / 100,
      guide: this.#region.kind === 'square',
    };
  }

  #bind() {
    button('camera').addEventListener('click', () => {
      if (this.#live?.facing) this.#stopLive();
      else void this.#open(() => this.#startCamera('user'));
    });
    button('flip').addEventListener('click', () => {
      const other = this.#live?.facing === 'user' ? 'environment' : 'user';
      return this.#open(() => this.#startCamera(other));
    });
    button('pause').addEventListener('click', () => this.#pause(!this.#paused));
    button('save').addEventListener('click', () => this.#save());
    this.#bindFile('photo-file', (file) => this.#open(() => this.showPhoto(file)));
    this.#bindFile('video-file', (file) => this.#open(async () => this.#start(await openVideo(file), file.name)));
    this.#bindFile('backdrop-file', (file) =>
      this.#open(async () => {
        this.#backdropPicture = await decodePhoto(file);
        this.redraw();
      }),
    );
    button('all').addEventListener('click', () => this.#setAll(true));
    button('none').addEventListener('click', () => this.#setAll(false));
    for (const radio of document.querySelectorAll('input[name="mode"]')) {
      radio.addEventListener('change', () => {
        showOptions(this.look.mode);
        this.redraw();
      });
    }
    for (const id of ['opacity', 'radius', 'tint', 'strength']) input(id).addEventListener('input', () => this.redraw());
    input('backdrop').addEventListener('input', () => {
      this.#backdropPicture = null;
      this.redraw();
    });
    for (const id of ['part', 'background']) select(id).addEventListener('change', () => this.redraw());
    select('region').addEventListener('change', () => this.#readRegion());
    input('zoom').addEventListener('input', () => this.#readRegion());
    makeMovable(this.#stage, {
      isMovable: () => this.#region.kind === 'square' && this.labelled !== null,
      centre: () => this.#region,
      moved: (x, y) => this.#moveTo(x, y),
    });
    for (const id of ['camera', 'photo-file', 'video-file']) element(id, HTMLElement).removeAttribute('disabled');
  }

  /** @param {string} id @param {(file: File) => void} use */
  #bindFile(id, use) {
    const field = input(id);
    field.addEventListener('change', () => {
      const file = field.files?.[0];
      field.value = ''; // so that the same file may be chosen again
      if (file) use(file);
    });
  }

  /** @param {boolean} on */
  #setAll(on) {
    this.legend.setAll(on);
    this.redraw();
  }

  #readRegion() {
    const kind = select('region').value === 'square' ? 'square' : 'whole';
    const zoom = Number(input('zoom').value) / 100;
    input('zoom').setAttribute('aria-valuetext', `${input('zoom').value} %`);
    this.#region = { ...this.#region, kind, zoom };
    for (const part of document.querySelectorAll('[data-region]')) {
      /** @type {HTMLElement} */ (part).hidden = kind === 'whole';
    }
    this.#stage.classList.toggle('movable', kind === 'square');
    this.#moveTo(this.#region.x, this.#region.y);
  }

  /** @param {number} x @param {number} y */
  #moveTo(x, y) {
    const { canvas } = this.#grabber;
    this.#region = moveRegion(this.#region, x, y, canvas, this.engine.manifest.preprocess.size_hw);
    if (this.labelled !== null && (this.#live === null || this.#paused)) void this.#open(() => this.#labelStill());
  }

  /** Do what a control asks for and show what goes wrong. @param {() => Promise<void>} action */
  async #open(action) {
    showProblem('');
    try {
      await action();
    } catch (error) {
      showProblem(/** @type {Error} */ (error).message);
    }
  }

  /** @param {'user' | 'environment'} facing */
  async #startCamera(facing) {
    this.#stopLive();
    this.#start(await openCamera(facing), 'Camera');
    button('flip').hidden = (await countCameras()) < 2;
  }

  /** @param {import('./camera.js').LiveSource} source @param {string} name */
  #start(source, name) {
    this.#stopLive();
    this.#live = source;
    source.track?.addEventListener('ended', () => {
      if (this.#live !== source) return;
      this.#stopLive();
      showProblem(`${name} ended. Press Camera to start it again.`);
    });
    this.#lastFrame = 0;
    this.#stage.classList.toggle('mirrored', source.facing === 'user');
    this.#reveal(`Live: ${name}`);
    button('pause').hidden = false;
    button('camera').textContent = source.facing ? 'Stop' : 'Camera';
    this.#pause(false);
    say(`${name} runs on ${NAMES[this.engine.backend]}.`);
  }

  #stopLive() {
    this.#live?.stop();
    this.#live = null;
    button('camera').textContent = 'Camera';
    button('pause').hidden = true;
    button('flip').hidden = true;
  }

  /** @param {boolean} on */
  #pause(on) {
    this.#paused = on;
    button('pause').setAttribute('aria-pressed', String(on));
    this.#lastFrame = 0;
    if (!on) requestAnimationFrame(() => this.#step());
  }

  async #step() {
    const live = this.#live;
    if (live === null || this.#paused) return;
    if (live.ready && !this.#busy && !document.hidden) {
      try {
        await this.#label(this.#grabber.grabVideo(live.video), true);
      } catch (error) {
        this.#stopLive();
        showProblem(/** @type {Error} */ (error).message);
        return;
      }
    }
    if (live === this.#live) requestAnimationFrame(() => this.#step());
  }

  /**
   * Label a photo and show it.
   * @param {Blob & {name?: string}} file
   */
  async showPhoto(file) {
    const photo = await decodePhoto(file);
    this.#stopLive();
    await this.idle();
    this.#stage.classList.remove('mirrored');
    this.#grabber.grabPhoto(photo);
    photo.close();
    this.#reveal(file.name ?? 'Photo');
    await this.#labelStill();
  }

  /** Wait until no picture is with the network, nor waits for it. */
  async idle() {
    while (this.#busy) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Label what was grabbed once more; calls that come meanwhile are answered by one more labelling. */
  async #labelStill() {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    do {
      this.#again = false;
      await this.#label(this.#grabber.read(), false);
    } while (this.#again);
    this.#describe();
  }

  /** @param {ImageData} pixels @param {boolean} live */
  async #label(pixels, live) {
    this.#busy = true;
    try {
      const { manifest } = this.engine;
      const roi = placeRegion(this.#region, pixels, manifest.preprocess.size_hw);
      this.labelled = await this.engine.label(pixels, roi, live);
      this.lastRegion = roi;
      this.count++;
    } finally {
      this.#busy = false;
    }
    this.redraw();
    const now = performance.now();
    this.#meter.add(this.labelled.timings, live && this.#lastFrame ? now - this.#lastFrame : null);
    this.#lastFrame = now;
    if (!live || this.count % 10 === 0) this.legend.setShares(this.#shares());
  }

  #shares() {
    const { labels } = this.engine.manifest;
    return this.labelled ? shareOfClasses(this.labelled.source, labels.names.length) : [];
  }

  /** Put into words what was found, for those who do not see the picture. */
  #describe() {
    const { names } = this.engine.manifest.labels;
    const found = this.#shares()
      .map((share, index) => ({ share, name: names[index].replaceAll('_', ' ') }))
      .filter(({ share }) => share >= 0.005)
      .sort((a, b) => b.share - a.share)
      .map(({ share, name }) => `${name} ${Math.round(100 * share)}\u00a0%`);
    const text = `Found ${found.join(', ') || 'nothing'}.`;
    this.#stage.setAttribute('aria-label', text);
    say(text);
  }

  /** @param {string} name */
  #reveal(name) {
    element('empty', HTMLElement).hidden = true;
    button('save').hidden = false;
    this.#stage.setAttribute('aria-label', name);
  }

  redraw() {
    if (this.labelled) this.renderer.draw(this.#grabber.canvas, this.labelled, this.look);
  }

  #save() {
    if (!this.labelled) return;
    // Without the dashed outline, which belongs to the page and not to the picture.
    this.renderer.draw(this.#grabber.canvas, this.labelled, { ...this.look, guide: false });
    this.#stage.toBlob((blob) => {
      if (!blob) return;
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = `segproof-${this.look.mode}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }, 'image/png');
    this.redraw();
  }
}
