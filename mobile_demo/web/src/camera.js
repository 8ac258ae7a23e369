// Where pictures come from: the camera, a photo, a video file. Each ends as a canvas of RGBA bytes.

import { contextOf, makeCanvas } from './masks.js';

/** Longest side of a live frame; a phone's camera may give more than it can label in time. */
const LIVE_SIDE = 1280;

/** Most pixels of a photo: what a canvas of an iPhone can hold. */
const PHOTO_PIXELS = 4096 * 4096;

/** Why there is no camera, in words that say what to do. @type {Record<string, string>} */
const REFUSALS = {
  NotAllowedError: 'The camera was refused. Allow it for this page in the browser’s settings, then press Camera again; photos and videos work without it.',
  NotFoundError: 'This device has no camera. Photos and videos work without one.',
  NotReadableError: 'Another program uses the camera. Close it, then press Camera again.',
  OverconstrainedError: 'No camera on this device is like the one that was asked for.',
};

/** A video that plays, from the camera or a file, and can be stopped for good. */
export class LiveSource {
  /** @type {WakeLockSentinel | null | undefined} */
  #lock = null;
  #stopped = false;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => void} release
   * @param {'user' | 'environment' | null} facing null for a file
   * @param {MediaStreamTrack | null} track that of a camera, which may end: unplugged, or its permission taken back
   */
  constructor(video, release, facing, track = null) {
    this.video = video;
    this.track = track;
    this.release = release;
    this.facing = facing;
  }

  /** Whether a frame can be taken. */
  get ready() {
    return this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && this.video.videoWidth > 0;
  }

  /** Ask that the screen stays lit; a phone that saves its battery refuses, and its screen dims as ever. */
  async keepAwake() {
    this.#lock = await navigator.wakeLock?.request('screen').catch(() => null);
    if (this.#stopped) await this.#lock?.release();
  }

  stop() {
    this.#stopped = true;
    void this.#lock?.release();
    this.video.pause();
    this.release();
    this.video.srcObject = null;
    this.video.removeAttribute('src');
  }
}

/**
 * Open the camera; throws an Error that a person can act on.
 * @param {'user' | 'environment'} facing
 */
export async function openCamera(facing) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error('Browsers give the camera to https and localhost only: serve this page with --https.');
  }
  /** @type {MediaStream} */
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: { ideal: facing }, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    throw new Error(REFUSALS[name] ?? `The camera cannot be used: ${message}`);
  }
  const video = makeVideo();
  video.srcObject = stream;
  const [track] = stream.getVideoTracks();
  const actual = track.getSettings().facingMode;
  const release = () => stream.getTracks().forEach((track) => track.stop());
  return play(new LiveSource(video, release, actual === 'environment' ? 'environment' : facing, track), 'The camera');
}

/**
 * Open a video file, which plays again and again without sound.
 * @param {File} file
 */
export async function openVideo(file) {
  const video = makeVideo();
  video.loop = true;
  const url = URL.createObjectURL(file);
  video.src = url;
  return play(new LiveSource(video, () => URL.revokeObjectURL(url), null), file.name);
}

/** How many cameras there are to flip between. */
export async function countCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind }) => kind === 'videoinput').length;
}

function makeVideo() {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  return video;
}

/** @param {LiveSource} source @param {string} name */
async function play(source, name) {
  try {
    await source.video.play();
  } catch (error) {
    source.stop();
    throw new Error(`${name} cannot be played by this browser (${/** @type {Error} */ (error).message})`);
  }
  void source.keepAwake();
  return source;
}

/**
 * Decode a photo upright, without colour conversion. Alpha is left alone here, but the canvas of `FrameGrabber` lays
 * translucent pixels over black, where OpenCV drops alpha: canvases keep colours multiplied by it.
 * @param {Blob & {name?: string}} file
 */
export async function decodePhoto(file) {
  try {
    return await createImageBitmap(file, {
      imageOrientation: 'from-image',
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
    });
  } catch {
    throw new Error(`${file.name ?? 'The file'} is not a picture that this browser can read.`);
  }
}

/** A canvas whose bytes are read back, picture after picture. */
export class FrameGrabber {
  canvas = makeCanvas(1, 1);
  #context = contextOf(this.canvas, { willReadFrequently: true, alpha: false });

  /** @param {HTMLVideoElement} video */
  grabVideo(video) {
    return this.#grab(video, video.videoWidth, video.videoHeight, LIVE_SIDE / Math.max(video.videoWidth, video.videoHeight));
  }

  /** @param {ImageBitmap} photo */
  grabPhoto(photo) {
    return this.#grab(photo, photo.width, photo.height, Math.sqrt(PHOTO_PIXELS / (photo.width * photo.height)));
  }

  /** The bytes of the canvas as it is. */
  read() {
    return this.#context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * @param {CanvasImageSource} source
   * @param {number} fullWidth
   * @param {number} fullHeight
   * @param {number} limit scale beyond which the picture is too large
   */
  #grab(source, fullWidth, fullHeight, limit) {
    const scale = Math.min(1, limit);
    const width = Math.max(1, Math.floor(fullWidth * scale));
    const height = Math.max(1, Math.floor(fullHeight * scale));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.#context.drawImage(source, 0, 0, width, height);
    return this.read();
  }
}
