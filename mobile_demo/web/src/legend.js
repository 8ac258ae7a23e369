// The classes of the network: a checkbox, a swatch, a name and a share each.

/** The list of classes in the page. */
export class Legend {
  /** Classes that are shown. @type {Set<number>} */
  shown;
  /** @type {HTMLInputElement[]} */
  #boxes = [];
  /** @type {HTMLElement[]} */
  #shares = [];

  /**
   * @param {HTMLElement} list
   * @param {import('./manifest.js').LabelSet} labelSet
   * @param {() => void} changed
   */
  constructor(list, { names, palette }, changed) {
    this.shown = new Set(names.keys());
    list.replaceChildren(...names.map((name, index) => this.#makeRow(index, name, palette[index], changed)));
  }

  /**
   * @param {number} index
   * @param {string} name
   * @param {[number, number, number]} colour
   * @param {() => void} changed
   */
  #makeRow(index, name, colour, changed) {
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = true;
    box.addEventListener('change', () => {
      if (box.checked) this.shown.add(index);
      else this.shown.delete(index);
      changed();
    });
    const label = document.createElement('label');
    const share = makeSpan('share', '');
    label.append(box, makeSwatch(colour), makeSpan('name', name.replaceAll('_', ' ')), share);
    this.#boxes.push(box);
    this.#shares.push(share);
    const row = document.createElement('li');
    row.append(label);
    return row;
  }

  /** @param {boolean} on */
  setAll(on) {
    this.#boxes.forEach((box, index) => {
      box.checked = on;
      if (on) this.shown.add(index);
      else this.shown.delete(index);
    });
  }

  /** @param {number[]} shares 0..1 by class */
  setShares(shares) {
    shares.forEach((share, index) => {
      const text = share === 0 ? '' : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
      if (this.#shares[index].textContent !== text) this.#shares[index].textContent = text;
    });
  }
}

/** @param {string} className @param {string} text */
function makeSpan(className, text) {
  const span = document.createElement('span');
  span.className = className;
  span.textContent = text;
  return span;
}

/** An SVG, as the page's policy allows no style attributes. @param {[number, number, number]} colour */
function makeSwatch([red, green, blue]) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('viewBox', '0 0 1 1');
  svg.setAttribute('aria-hidden', 'true');
  const square = document.createElementNS(space, 'rect');
  square.setAttribute('width', '1');
  square.setAttribute('height', '1');
  square.setAttribute('fill', `rgb(${red} ${green} ${blue})`);
  svg.append(square);
  return svg;
}
