// The idea in three boxes over a recorded run, as it plays: what the generator made, what the teacher says of it, and
// what the student makes of that. They lead to slow motion, and make room for it.

import { element, once } from "../web/dom.js";
import { percent } from "../web/numbers.js";
import { placesOf } from "../web/sheet.js";

const SHOWN = 6, REJECTED = 2; // images

export class Idea {
  constructor(stage, root) {
    Object.assign(this, { stage, root });
    root.addEventListener("click", () => stage.slow.enter());
  }

  // `idea`: title and caption of each box; none over a run of one's own, and while something else tells.
  update({ idea, slow }) {
    this.root.hidden = !idea || Boolean(slow);
    if (idea) once(this.root, idea, () => this.build(idea));
  }

  build(idea) {
    this.boxes = idea.map(([title, caption]) => {
      const what = element("div.dfkd-idea-what");
      return { what, box: element("li", element("h5", title), what, element("p", caption)) };
    });
    this.root.replaceChildren(...this.boxes.map(({ box }) => box));
  }

  draw() {
    const { stage, root } = this;
    root.hidden = !stage.data.idea || stage.slow.on;
    if (root.hidden) return;
    root.classList.toggle("playing", stage.playing);
    if (stage.shown) stage.once("idea", [stage.shown.step], () => this.images(stage.shown));
    const { teacher, score } = stage.data, value = stage.valueAt(score);
    stage.once("idea score", [value, teacher], () => this.score(value, teacher));
  }

  images(sheet) {
    const rejected = placesOf(sheet.clean, 0).slice(0, REJECTED);
    const clean = placesOf(sheet.clean, 1).slice(0, SHOWN - rejected.length);
    const places = [...clean, ...rejected].sort((one, other) => one - other);
    const [made, judged] = this.boxes;
    made.what.replaceChildren(...places.map((index) => element("span", sheet.tile(index))));
    judged.what.replaceChildren(
      ...places.map((index) => {
        const label = this.stage.named(sheet.label[index]), name = element("b", label);
        if (!sheet.mixture?.applied) return element("span", sheet.tile(index, "", label), name);
        const verdict = clean.includes(index) ? "clean" : "rejected";
        return element("span." + verdict, sheet.tile(index, "", `${verdict}, ${label}`), name);
      }),
    );
  }

  score(value, teacher) {
    const bar = element("progress", { max: teacher ?? 1, value: value ?? 0, "aria-label": "The student's accuracy" });
    const aim = teacher == null ? "" : `of the teacher's ${percent(teacher)}`;
    const now = element("strong", value == null ? "–" : percent(value));
    this.boxes[2].what.replaceChildren(now, element("small", aim), bar);
  }
}
