// Does the lenient expert judge well? Its verdict against the boundary of the real class, now and over the training.

import { element, once } from "../web/dom.js";
import { whole } from "../web/numbers.js";
import { layoutOf, line, margins, SHARES, titled, upright } from "../web/plot.js";
import { judgedAgainst } from "./samples.js";

const CLEAR = 0.05; // a difference of shares that is called one

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

  // When it judged well: how much more often the clean ones lay inside than the rejected ones.
  summary() {
    if (this.rows?.run !== this.scope.run) return [];
    const { steps, columns: { precision, inside_rejected: rejected } } = this.rows;
    const known = [...steps.keys()].filter((nth) => precision[nth] != null && rejected[nth] != null);
    const gaps = known.map((nth) => [precision[nth] - rejected[nth], steps[nth]]);
    if (gaps.length < 2) return [];
    const mean = gaps.reduce((sum, [gap]) => sum + gap, 0) / gaps.length;
    const best = gaps.reduce((a, b) => (b[0] > a[0] ? b : a));
    const points = `${Math.abs(100 * mean).toFixed(0)} percentage points ${mean < 0 ? "less" : "more"} often`;
    const most = `at best ${(100 * best[0]).toFixed(0)} points, at step ${best[1]}`;
    const over = `Over ${gaps.length} recorded steps, clean ones lie inside ${points}`;
    return [`${over} than rejected ones on average (${most}).`];
  }

  comparison({ precision, insideRejected, recall }) {
    if (precision == null) return "; none is kept.";
    if (insideRejected == null) return "; nothing is rejected.";
    const gap = precision - insideRejected;
    const way = gap < 0 ? "wrong" : "right";
    const verdict = Math.abs(gap) > CLEAR ? `points the ${way} way` : "hardly tells them apart";
    return `: the verdict ${verdict}` + (recall == null ? "." : `, and it keeps ${whole(recall)} of what lies inside.`);
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
