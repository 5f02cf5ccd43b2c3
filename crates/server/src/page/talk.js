// Questions and answers, each written while one reads.

import { stream } from "./api.js";
import { Panel, element } from "./panel.js";
import { picture } from "./picture.js";
import { writing } from "./settings.js";

/** The server's word for a conversation that the model cannot read as a whole. */
const OUTGROWN = "context_length_exceeded";

/** What is said of how an answer ended, where that is not by itself. */
function remark({ finish, category }, said) {
  if (finish === "length") return "cut short: it has reached the most new tokens";
  if (finish === "content_filter") return `${said ? "the rest" : "the answer"} is kept back by the server's filter${category ? ` (${category})` : ""}`;
  return said ? "" : "no answer";
}

/** What is said where the `count` first questions are no longer read. */
function forgotten(count) {
  const what = count === 1 ? "the first question is" : `the first ${count} questions are`;
  return element("p", `The conversation has outgrown what the model can read: ${what} forgotten.`, "quiet");
}

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

  body(question = this.question.value.trim() || this.question.placeholder, turns = this.turns) {
    const said = [...turns, { role: "user", content: question }];
    const messages = said.map((turn, index) =>
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
      let turns = this.turns;
      let note = "broken off";
      // As `blip2 chat` does: the first turns are forgotten, and where that shows in the middle of an answer, the question has failed.
      const converse = async () => {
        for (;;) {
          try {
            return await stream(this.path, this.body(question, turns), hear, abort.signal);
          } catch (error) {
            if (error.code !== OUTGROWN || !turns.length) throw error;
            turns = turns.slice(2);
            if (answer.textContent) throw error;
          }
        }
      };
      try {
        note = remark(await converse(), answer.textContent);
      } catch (error) {
        if (abort.signal.aborted) note = answer.textContent ? "" : "stopped";
        if (abort.signal.aborted || answer.textContent) throw error;
        // Nothing was answered: the question is given back.
        asked.remove();
        answer.remove();
        if (!this.question.value) this.question.value = question;
        throw error;
      } finally {
        this.stop.hidden = true;
        answer.classList.remove("writing");
        if (abort === this.abort && answer.isConnected) {
          const left = (this.turns.length - turns.length) / 2;
          if (left) asked.before(forgotten(left));
          this.turns = [...turns, { role: "user", content: question }, { role: "assistant", content: answer.textContent }];
          if (note) answer.append(element("small", note));
          this.again.disabled = false;
        }
        answer.ariaBusy = "false";
      }
    });
  }
}
