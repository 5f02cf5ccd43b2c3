// Captions.

import { ask } from "./api.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";
import { writing } from "./settings.js";

/** What is said of captions that the server's filter `found` something in. */
function keptBack(found, others) {
  const categories = [...new Set(found.map(({ category }) => category))].join(", ");
  const which = !others ? "No caption can be shown: all were" : found.length === 1 ? "One caption was" : `${found.length} captions were`;
  return `${which} kept back by the server's filter (${categories}).`;
}

export class Caption extends Panel {
  constructor() {
    super("caption", "/v1/caption");
    this.list = this.find("ol");
  }

  body() {
    return { image: picture().url, num_captions: Number(this.form.elements.count.value), ...writing() };
  }

  anew() {
    this.list.replaceChildren();
    this.fail(null);
  }

  run() {
    return this.busy(async () => {
      const { captions, filtered = [] } = await ask(this.path, this.body());
      const items = captions.map(({ text, score }) => {
        const item = element("li", text || "(nothing)");
        if (captions.length > 1 && Number.isFinite(score)) item.append(element("small", `score ${score.toFixed(2)}`));
        return item;
      });
      if (filtered.length) items.push(element("li", keptBack(filtered, captions.length), "quiet"));
      this.list.replaceChildren(...items);
    });
  }
}
