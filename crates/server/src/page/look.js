// Where the queries look, and for which words.

import { ask } from "./api.js";
import { hide, show } from "./heat.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";

const mean = (maps) => maps[0].map((_, patch) => maps.reduce((sum, map) => sum + map[patch], 0) / maps.length);

export class Look extends Panel {
  constructor() {
    super("look", "/v1/attention");
    this.maps = this.find(".maps");
    this.words = this.find(".words");
    this.queries = this.find(".queries");
    this.layer = this.find("[name=layer]");
    this.layer.addEventListener("input", () => this.draw("queries"));
  }

  body() {
    const text = this.form.elements.text.value.trim();
    return { image: picture().url, ...(text && { text }) };
  }

  anew() {
    hide();
    this.maps.hidden = true;
    this.found = null;
    this.fail(null);
  }

  run() {
    return this.busy(async () => {
      this.found = await ask(this.path, this.body());
      const { layers, words } = this.found;
      this.layer.max = layers.length - 1;
      this.layer.value = layers.length - 1;
      this.find(".layer").hidden = layers.length < 2;
      this.chips(this.queries, "queries", ["all", ...layers[0].queries.map((_, query) => query + 1)]);
      this.words.hidden = !words;
      if (words) {
        this.find(".words output").textContent = `that make it a match, of probability ${words.itm_probability.toFixed(3)}`;
        this.chips(this.words, "words", ["all words", ...words.words.map(({ word }) => word)]);
      }
      this.maps.hidden = false;
      this.draw(words ? "words" : "queries");
    });
  }

  /** Radio buttons for each of `names`; choosing one draws its map, and leaves the other row without a choice. */
  chips(row, name, names) {
    const chips = names.map((each, index) => {
      const [label, input] = [document.createElement("label"), document.createElement("input")];
      Object.assign(input, { type: "radio", name, value: index, checked: index === 0 });
      if (name === "queries" && index > 0) input.ariaLabel = `query ${each}`;
      input.addEventListener("change", () => this.draw(name));
      // A click on what is chosen already, after one in the other row.
      input.addEventListener("click", () => this.drawn !== name && this.draw(name));
      label.append(input, element("span", each));
      return label;
    });
    row.querySelector(".chips").replaceChildren(...chips);
  }

  draw(name) {
    if (!this.found) return;
    this.drawn = name;
    for (const [row, own] of [[this.queries, "queries"], [this.words, "words"]]) row.classList.toggle("idle", own !== name);
    const { grid, layers, words } = this.found;
    const index = Number(this.root.querySelector(`input[name=${name}]:checked`).value);
    const { layer, queries } = layers[Number(this.layer.value)];
    this.find(".layer output").textContent = layer;
    // Its value is a place among the layers that were looked at, not the layer's own number.
    this.layer.setAttribute("aria-valuetext", `layer ${layer}`);
    if (name === "queries") {
      const whose = index ? `Query ${index}` : "All queries";
      show(index ? queries[index - 1] : mean(queries), grid, `${whose} in layer ${layer}`);
    } else if (index) {
      const { word, weights } = words.words[index - 1];
      show(weights, words.grid, `“${word}”`);
    } else {
      show(mean(words.queries), words.grid, "The whole text");
    }
  }
}
