// Questions and answers, each written while one reads.

import { stream } from "./api.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";
import { writing } from "./settings.js";

export class Talk extends Panel {
  constructor(model) {
    super("ask", "/v1/chat/completions");
    this.model = model;
    this.turns = [];
    this.log = this.find(".talk");
    this.hint = this.log.firstElementChild;
    this.question = this.form.elements.question;
    this.stop = this.form.elements.stop;
    this.again = this.form.elements.anew;
    this.stop.addEventListener("click", () => this.abort?.abort());
    this.again.addEventListener("click", () => {
      this.anew();
      this.question.focus();
    });
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.form.requestSubmit();
      }
    });
  }

  body(question = this.question.value.trim() || this.question.placeholder) {
    const turns = [...this.turns, { role: "user", content: question }];
    const messages = turns.map((turn, index) =>
      index > 0 ? turn : { role: "user", content: [{ type: "image_url", image_url: { url: picture().url } }, { type: "text", text: turn.content }] },
    );
    return { model: this.model(), messages, stream: true, ...writing() };
  }

  anew() {
    this.abort?.abort();
    this.turns = [];
    this.log.replaceChildren(this.hint);
    this.again.disabled = true;
    this.fail(null);
  }

  run() {
    const question = this.question.value.trim();
    if (!question) return;
    const body = this.body(question);
    const abort = (this.abort = new AbortController());
    const asked = element("p", question, "asked");
    const answer = element("p", "", "answered writing");
    this.hint.remove();
    this.log.append(asked, answer);
    // Said as a whole when it is written, not letter by letter.
    answer.ariaBusy = "true";
    this.question.value = "";
    this.stop.hidden = false;
    const hear = (piece) => {
      answer.textContent = (answer.textContent + piece).trimStart();
      this.log.scrollTop = this.log.scrollHeight;
    };
    return this.busy(async () => {
      try {
        await stream(this.path, body, hear, abort.signal);
      } catch (error) {
        if (abort.signal.aborted || answer.textContent) throw error;
        // Nothing was answered: the question is given back.
        asked.remove();
        answer.remove();
        if (!this.question.value) this.question.value = question;
        throw error;
      } finally {
        this.stop.hidden = true;
        answer.classList.remove("writing");
        answer.ariaBusy = "false";
        if (abort === this.abort && answer.isConnected) {
          this.turns.push({ role: "user", content: question }, { role: "assistant", content: answer.textContent });
          if (!answer.textContent) answer.append(element("em", abort.signal.aborted ? "stopped" : "no answer", "quiet"));
          this.again.disabled = false;
        }
      }
    });
  }
}
