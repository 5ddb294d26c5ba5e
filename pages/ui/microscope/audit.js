// Does the lenient expert judge well? Its verdict against the boundary of the real class, now and over the training.

import { element, once } from "../web/dom.js";
import { points, whole } from "../web/numbers.js";
import { layoutOf, line, margins, SHARES, titled, upright } from "../web/plot.js";
import { gapOf, judgedAgainst } from "./samples.js";

const TABLE = ["clean_inside", "clean", "rejected_inside", "rejected"];

const between = (gap, error) =>
  `${points(gap)} [${points(gap - error)}, ${points(gap + error)}] percentage points`;

export class Audit {
  constructor(node, scope) { Object.assign(this, { node, scope }); }

  draw() {
    const { frame, verdict, data } = this.scope, { done, count, total } = data.audit;
    const now = frame && judgedAgainst(frame, verdict, this.scope.inside(frame));
    this.node.hidden = !frame;
    if (total) this.rows = this.scope.need("audit " + count) ?? this.rows;
    const all = "verdict against the boundary of the real class";
    this.at("h4 span").textContent = done || !total ? all : `${count} of ${total} steps judged so far`;
    this.node.classList.toggle("blind", !now?.known);
    if (!now) return;
    this.fill(now);
    this.at(".scope-reading").textContent = this.reading(now, frame, verdict);
    this.course();
  }

  at(selector) { return this.node.querySelector(selector); }

  // Counts, and their shares of the clean or of the rejected ones.
  fill({ counts }) {
    const cells = this.node.querySelectorAll("td");
    counts.forEach((count, place) => {
      const row = place < 2 ? counts[0] + counts[1] : counts[2] + counts[3];
      const share = row ? count / row : 0;
      cells[place].replaceChildren(element("b", String(count)), element("small", whole(share)));
      cells[place].style.setProperty("--share", share.toFixed(3));
    });
  }

  // The numbers of the step in plain words; nothing is claimed beyond them.
  reading(now, frame, verdict) {
    const tried = verdict.hypothetical ? ` with τ ${verdict.threshold.toFixed(2)},` : ",";
    const shares = (clean, rejected, words) => {
      const known = [["clean", clean], ["rejected", rejected]].filter(([, share]) => share != null);
      return known.map(([name, share]) => `${whole(share)} of the ${name}${words}`).join(" and ");
    };
    const missing = this.scope.data.real ? "features." : "real images to compare with.";
    const unknown = "the boundary of the real class is unknown: this run kept no " + missing;
    const among = shares(now.precision, now.insideRejected, " samples");
    const inside = `${among} lie inside the boundary of the real class${this.comparison(now)}`;
    const parts = [`At step ${frame.step}${tried} ${now.known ? inside : unknown}`];
    const student = shares(now.disagreesClean, now.disagreesRejected, "");
    if (student) parts.push(`The student contradicts the teacher on ${student} ones.`);
    return [...parts, ...this.summary()].join(" ");
  }

  // How it judged over the training.
  summary() {
    if (this.rows?.run !== this.scope.run) return [];
    const { steps, columns } = this.rows, tables = steps.map((_, nth) => TABLE.map((name) => columns[name][nth]));
    const found = gapOf(tables.filter(([inside]) => inside != null));
    if (!found || found.steps < 2) return [];
    const { steps: count, gap, error } = found, often = gap < 0 ? "less" : "more";
    const over = `Over ${count} recorded steps, each compared by itself, clean ones lie inside ${often} often than`;
    const chance = Math.abs(gap) > error ? "" : ", which may be chance";
    return [`${over} rejected ones by ${between(Math.abs(gap), error)}${chance}.`];
  }

  // A verdict on the verdict where the difference is above its uncertainty only.
  comparison({ counts: [inside, outside, other, another], recall }) {
    if (!(inside + outside)) return "; none is clean.";
    if (!(other + another)) return "; nothing is rejected.";
    const { gap, error } = gapOf([[inside, inside + outside, other, other + another]]);
    const way = `the verdict points the ${gap < 0 ? "wrong" : "right"} way`;
    const said = Math.abs(gap) > error ? way : "no clear difference";
    const among = recall == null ? "" : ` Of what lies inside ${whole(recall)} is clean.`;
    return `: ${said} (${between(gap, error)}).${among}`;
  }

  course() {
    const { scope, rows } = this, { theme, run, frame, plots } = scope;
    if (rows?.run !== run || !plots.plotly || !this.visible) return;
    once(this.node, [run, rows.version, theme.key, frame?.step], () => {
      const curve = (name, label, color, dash = "solid") => {
        const points = { mode: rows.steps.length > 1 ? "lines" : "markers", connectgaps: false };
        return line({ x: rows.steps, y: rows.columns[name] }, label, color, { dash }, undefined, points);
      };
      this.plot(".scope-inside", [
        curve("precision", "clean", theme.clean), curve("inside_rejected", "rejected", theme.rejected),
        curve("recall", "recall", theme.text, "dot"),
      ]);
      this.plot(".scope-disagree", [
        curve("disagreement_clean", "clean", theme.clean), curve("disagreement_rejected", "rejected", theme.rejected),
      ]);
    });
  }

  plot(name, traces) {
    const { theme, data, plots, frame, run } = this.scope, node = this.at(name);
    const layout = {
      ...margins(44, 8, 6, 38), uirevision: run, font: { color: theme.text, size: 12 },
      shapes: frame ? [upright(frame.step, { color: theme.text, width: 1.5 })] : [],
      xaxis: { ...titled("training step"), range: [0, Math.max(1, data.total)] }, yaxis: SHARES,
    };
    plots.draw(node, traces, layoutOf(theme, layout), node.getAttribute("aria-label"));
  }
}
