#!/usr/bin/env bash
# Opens a report in headless Chromium, in light and in dark: every plot is drawn, every column sorts, text can be read, no script
# fails, nothing is fetched. Without Chromium it is skipped, and says so. With a folder as argument it leaves screenshots there.
set -euo pipefail
cd "$(dirname "$0")/.."

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[ -n "$browser" ] || { echo "report in a browser: skipped, there is no Chromium"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo run --quiet --all-features -- eval models/movies.tagm models/movies-test.jsonl.gz --report "$work/report.html" >"$work/measures"

# A copy with a script before everything, which hears what fails, and one behind everything, which looks.
cat >"$work/before" <<'HTML'
<script>
const faults = [];
addEventListener("error", (event) => faults.push(event.message || "not loaded: " + event.target.src), true);
addEventListener("securitypolicyviolation", (event) => faults.push("asked for " + event.blockedURI));
</script>
HTML
cat >"$work/behind" <<'HTML'
<script>
const check = (holds, fault) => holds || faults.push(fault);
const light = (color) => {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = color.match(/[\d.]+/g).map((part) => linear(part / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
for (const id of ["roc", "precision-recall", "thresholds", "reliability", "learning", "activity"]) {
  const plot = document.querySelector(`figure#${id} svg`);
  check(plot, `no plot ${id}`);
  if (!plot) continue;
  const { width, height } = plot.getBoundingClientRect();
  check(width > 200 && height > 150, `plot ${id} is ${width} x ${height}`);
  const background = getComputedStyle(plot.closest("figure")).backgroundColor;
  const drawn = [...plot.querySelectorAll('[stroke^="#010104"], [fill^="#010104"]')];
  check(drawn.length > 0, `plot ${id} is empty`);
  for (const mark of drawn) {
    const style = getComputedStyle(mark);
    check(contrast(style.fill === "none" ? style.stroke : style.fill, background) > 3, `plot ${id}: a curve is hard to see`);
  }
  for (const text of plot.querySelectorAll("text")) {
    check(contrast(getComputedStyle(text).fill, background) > 4.5, `plot ${id}: text is hard to read`);
  }
}
for (const text of document.querySelectorAll("h1, h2, h3, p, td, th")) {
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
  };
  check(contrast(getComputedStyle(text).color, behind(text)) > 4.5, `hard to read: ${text.textContent.slice(0, 30)}`);
}
const table = document.querySelector("table#tags");
const rows = () => [...table.tBodies[0].rows];
check(rows().length > 10, "the table is short");
[...table.tHead.rows[0].cells].forEach((head, column) => {
  const values = () => rows().map((row) => (column ? parseFloat(row.cells[column].dataset.value) : row.cells[0].textContent));
  const sorted = (order) =>
    values().every((value, i, all) => {
      if (i === 0 || Number.isNaN(value)) return true;
      const before = all[i - 1];
      return column ? (before - value) * order <= 0 : new Intl.Collator().compare(before, value) * order <= 0;
    });
  for (let click = 0; click < 2; click += 1) {
    head.querySelector("button").click();
    const order = head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
    check(sorted(order), `column ${column} does not sort (${order})`);
  }
});
for (const id of ["given", "missed"]) {
  check(document.querySelectorAll(`#${id} article`).length > 0, `no mistakes in ${id}`);
  check(document.querySelectorAll(`#${id} .keywords span`).length > 0, `no keywords in ${id}`);
}
check(document.documentElement.scrollWidth <= innerWidth, "the page is wider than the window");
check(performance.getEntriesByType("resource").length === 0, "something was fetched");
check(matchMedia("(prefers-color-scheme: dark)").matches === DARK, "the wrong colour scheme");
document.title = faults.length ? "FAULTS: " + faults.join("; ") : "all is well";
</script>
HTML

flags=(--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update
    --disable-sync --hide-scrollbars --user-data-dir="$work/browser" --virtual-time-budget=10000)
for scheme in light dark; do
    dark=$([ "$scheme" = dark ] && echo true || echo false)
    flags_of_scheme=(--blink-settings=preferredColorScheme="$([ "$scheme" = dark ] && echo 0 || echo 1)")
    { cat "$work/before" "$work/report.html"; sed "s/=== DARK/=== $dark/" "$work/behind"; } >"$work/$scheme.html"
    found=$(timeout 120 "$browser" "${flags[@]}" "${flags_of_scheme[@]}" --window-size=1280,900 --dump-dom \
        "file://$work/$scheme.html" 2>/dev/null | grep -o '<title>[^<]*</title>' | head -1)
    [ "$found" = "<title>all is well</title>" ] || { echo "report in a browser, $scheme: $found"; exit 1; }
    if [ $# -gt 0 ]; then
        timeout 120 "$browser" "${flags[@]}" "${flags_of_scheme[@]}" --window-size=1280,3600 --screenshot="$1/$scheme.png" \
            "file://$work/report.html" 2>/dev/null
    fi
    echo "report in a browser, $scheme: all is well"
done
