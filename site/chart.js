/** A chart of the last round-trip times, with a description for all readers. Before the first one, it is hidden. */

const MAX_SAMPLES = 60;

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

export class Chart {
  #plot; #summary; #describe;
  #samples = [];

  /** `plot` is the svg; `describe` returns the text for `summary` from last, median and max. */
  constructor(plot, summary, describe) {
    this.#plot = plot;
    this.#summary = summary;
    this.#describe = describe;
  }

  add(milliseconds) {
    const samples = this.#samples;
    samples.push(milliseconds);
    if (samples.length > MAX_SAMPLES) samples.shift();
    const figures = [milliseconds, median(samples), Math.max(...samples)].map(value => value.toFixed(1));
    this.#draw();
    this.#plot.removeAttribute("hidden");
    this.#summary.textContent = this.#describe(...figures);
    this.#plot.ariaLabel = this.#summary.textContent;
  }

  #draw() {
    // Browsers reduce the clock resolution, https://www.w3.org/TR/hr-time-3/#clock-resolution: all values may be 0.
    const max = Math.max(...this.#samples, 0.1);
    const points = this.#samples.map((value, i) => [MAX_SAMPLES - this.#samples.length + i, 1 - value / max]);
    this.#plot.querySelector("polyline").setAttribute("points", points.join(" "));
    this.#plot.querySelector("path").setAttribute("d", `M${points.at(-1)}h0`);
    this.#plot.querySelector("text").textContent = `${max.toFixed(1)} ms`;
  }
}
