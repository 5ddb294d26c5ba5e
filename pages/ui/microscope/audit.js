// Does the lenient expert judge well? Its verdict against the boundary of the real class, now and over the training.

class Audit {
  constructor(node, scope) {
    this.node = node;
    this.scope = scope;
    this.table = node.querySelector("table");
    this.words = node.querySelector(".scope-reading");
  }

  draw() {
    const { scope } = this;
    const { frame, verdict, data } = scope;
    const inside = frame ? scope.inside(frame) : null;
    const now = frame && judgedAgainst(frame, verdict, inside);
    this.node.hidden = !frame;
    const rows = data.audit.total ? scope.need("audit " + data.audit.count) : null;
    if (rows) this.rows = rows;
    this.node.querySelector("h4 span").textContent = this.progress(data.audit);
    this.node.classList.toggle("blind", !now?.known);
    if (!now) return;
    this.fill(now);
    this.words.textContent = this.reading(now, frame, verdict);
    this.course();
  }

  progress({ done, count, total }) {
    return done || !total
      ? "verdict against the boundary of the real class"
      : `${count} of ${total} steps judged so far`;
  }

  // Counts, and their shares of the clean or of the rejected ones.
  fill({ counts }) {
    const cells = this.table.querySelectorAll("td");
    counts.forEach((count, place) => {
      const row = place < 2 ? counts[0] + counts[1] : counts[2] + counts[3];
      const share = row ? count / row : 0;
      cells[place].replaceChildren(element("b", {}, String(count)), element("small", {}, whole(share)));
      cells[place].style.setProperty("--share", share.toFixed(3));
    });
  }

  // The numbers of the step in plain words; nothing is claimed beyond them.
  reading(now, frame, verdict) {
    const at = `At step ${frame.step}` + (verdict.hypothetical ? ` with τ ${verdict.threshold.toFixed(2)},` : ",");
    const parts = [];
    if (now.known) {
      const among = [
        ["clean", now.precision],
        ["rejected", now.insideRejected],
      ].filter(([, share]) => share != null);
      parts.push(
        `${at} ` +
          among.map(([name, share]) => `${whole(share)} of the ${name} samples`).join(" and ") +
          " lie inside the boundary of the real class" +
          this.comparison(now),
      );
    } else {
      parts.push(
        `${at} the boundary of the real class is unknown: this run kept no ` +
          (this.scope.data.real ? "features." : "real images to compare with."),
      );
    }
    const student = [
      ["clean", now.disagreesClean],
      ["rejected", now.disagreesRejected],
    ].filter(([, share]) => share != null);
    if (student.length) {
      parts.push(
        "The student contradicts the teacher on " +
          student.map(([name, share]) => `${whole(share)} of the ${name}`).join(" and ") +
          " ones.",
      );
    }
    return [...parts, ...this.summary()].join(" ");
  }

  // When it judged well: how much more often the clean ones lay inside than the rejected ones.
  summary() {
    if (this.rows?.run !== this.scope.run) return [];
    const { steps, columns } = this.rows;
    const gaps = steps
      .map((step, nth) => [columns.precision[nth], columns.inside_rejected[nth], step])
      .filter(([clean, rejected]) => clean != null && rejected != null)
      .map(([clean, rejected, step]) => [clean - rejected, step]);
    if (gaps.length < 2) return [];
    const mean = gaps.reduce((sum, [gap]) => sum + gap, 0) / gaps.length;
    const best = gaps.reduce((a, b) => (b[0] > a[0] ? b : a));
    const points = `${Math.abs(100 * mean).toFixed(0)} percentage points ${mean < 0 ? "less" : "more"} often`;
    const most = `at best ${(100 * best[0]).toFixed(0)} points, at step ${best[1]}`;
    return [
      `Over ${gaps.length} recorded steps, clean ones lie inside ${points} than rejected ones on average (${most}).`,
    ];
  }

  comparison({ precision, insideRejected, recall }) {
    if (precision == null) return "; none is kept.";
    if (insideRejected == null) return "; nothing is rejected.";
    const gap = precision - insideRejected;
    const verdict =
      gap > 0.05
        ? "the verdict points the right way"
        : gap < -0.05
          ? "the verdict points the wrong way"
          : "the verdict hardly tells them apart";
    return `: ${verdict}` + (recall == null ? "." : `, and it keeps ${whole(recall)} of what lies inside.`);
  }

  // --- over the training ---

  course() {
    const { scope } = this;
    const { plotly, theme } = scope;
    if (!this.rows || this.rows.run !== scope.run || !plotly || !this.visible) return;
    const key = [scope.run, this.rows.version, theme.background, scope.frame?.step].join("|");
    if (key === this.drawn) return;
    this.drawn = key;
    const { steps, columns } = this.rows;
    const line = (name, label, color, dash = "solid") => ({
      x: steps,
      y: columns[name],
      name: label,
      mode: steps.length > 1 ? "lines" : "markers",
      connectgaps: false,
      line: { color, width: 2, dash },
      hovertemplate: "%{y:.0%}",
    });
    this.plot(".scope-inside", [
      line("precision", "clean", theme.clean),
      line("inside_rejected", "rejected", theme.rejected),
      line("recall", "recall", theme.text, "dot"),
    ]);
    this.plot(".scope-disagree", [
      line("disagreement_clean", "clean", theme.clean),
      line("disagreement_rejected", "rejected", theme.rejected),
    ]);
  }

  plot(name, traces) {
    const { theme, data, plotly, frame } = this.scope;
    const axis = { gridcolor: theme.line, zeroline: false, linecolor: theme.line };
    const here = frame && {
      type: "line",
      x0: frame.step,
      x1: frame.step,
      y0: 0,
      y1: 1,
      yref: "paper",
      line: { color: theme.text, width: 1.5 },
    };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      uirevision: this.scope.run,
      hovermode: "x unified",
      font: { color: theme.text, size: 12 },
      margin: { l: 44, r: 8, t: 6, b: 38 },
      showlegend: false,
      shapes: here ? [here] : [],
      hoverlabel: { bgcolor: theme.background, font: { color: theme.text } },
      xaxis: {
        ...axis,
        range: [0, Math.max(1, data.total)],
        title: { text: "training step", standoff: 2, font: { size: 12 } },
      },
      yaxis: { ...axis, range: [0, 1.02], tickformat: ".0%" },
    };
    plotly.react(this.node.querySelector(name), traces, layout, { displayModeBar: false, responsive: true });
  }
}

// Counts clean inside, clean outside, rejected inside, rejected outside, and the shares that follow from them.
function judgedAgainst(frame, verdict, inside) {
  const counts = [0, 0, 0, 0];
  const disagrees = [0, 0];
  const members = [0, 0];
  verdict.clean.forEach((clean, index) => {
    const side = clean ? 0 : 1;
    members[side] += 1;
    disagrees[side] += frame.student_label[index] !== frame.label[index];
    if (inside) counts[2 * side + (inside[index] ? 0 : 1)] += 1;
  });
  const share = (part, of) => (of ? part / of : null);
  return {
    known: Boolean(inside),
    counts,
    precision: inside ? share(counts[0], members[0]) : null,
    insideRejected: inside ? share(counts[2], members[1]) : null,
    recall: inside ? share(counts[0], counts[0] + counts[2]) : null,
    disagreesClean: share(disagrees[0], members[0]),
    disagreesRejected: share(disagrees[1], members[1]),
  };
}
