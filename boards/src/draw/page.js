// Draws one board: DATA is what draw.ts put into the page.
const UNIT = 34;
const GAP = 6;
const COLORS = ['#3274d9', '#e0752d', '#56a64b', '#a352cc', '#c4162a', '#1f9e9e', '#b8860b', '#7b6fd0', '#5c8a3a', '#d44a8c', '#8a6d5b', '#4a90a4'];
const NAMED = { green: '#56a64b', yellow: '#e0a600', orange: '#f2771a', red: '#d0283a', blue: '#3274d9', text: 'var(--text)' };
const style = getComputedStyle(document.documentElement);
const css = (name) => style.getPropertyValue(name).trim();

function element(tag, parent, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function short(value, decimals) {
  const size = Math.abs(value);
  for (const [limit, letter] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) if (size >= limit) return `${+(value / limit).toPrecision(3)} ${letter}`;
  if (decimals !== undefined) return value.toFixed(decimals);
  return String(+value.toPrecision(3));
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return '0 s';
  if (size < 0.001) return `${+(value * 1e6).toPrecision(3)} µs`;
  if (size < 1) return `${+(value * 1e3).toPrecision(3)} ms`;
  if (size < 120) return `${+value.toPrecision(3)} s`;
  return size < 7200 ? `${+(value / 60).toPrecision(3)} min` : `${+(value / 3600).toPrecision(3)} h`;
}

const RATES = { mps: 'msg/s', cps: '/s', reqps: 'req/s', ops: '/s', wps: '/s' };
function format(value, unit, decimals) {
  if (!Number.isFinite(value)) return String(value);
  if (unit === 'percent') return `${value.toFixed(decimals ?? (value > 0 && value < 10 ? 1 : 0))} %`;
  if (unit === 's') return seconds(value);
  if (unit === 'bytes') {
    for (const [limit, name] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) if (Math.abs(value) >= limit) return `${+(value / limit).toPrecision(3)} ${name}`;
    return `${Math.round(value)} B`;
  }
  if (unit === 'bps') return `${short(value)}b/s`.replace(/ (\w)b/, ' $1b');
  return RATES[unit] ? `${short(value)} ${RATES[unit]}` : short(value, decimals);
}

function colorOf(panel, value) {
  let color = panel.steps ? 'text' : 'blue';
  for (const step of panel.steps ?? []) if (step[0] === null || value >= step[0]) color = step[1];
  return NAMED[color] ?? color;
}

const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);
const last = (line) => line.values.filter(([, value]) => Number.isFinite(value)).at(-1)?.[1];

function nothing(box, panel) {
  element('div', box, panel.nothing ?? 'No data', 'nothing');
}

function legends(box, lines) {
  const legend = element('div', box, undefined, 'legend');
  lines.forEach((line, index) => {
    const span = element('span', legend);
    element('i', span).style.background = COLORS[index % COLORS.length];
    span.append(line.label);
  });
}

function time(box, panel, width, height) {
  if (panel.lines.length === 0) return nothing(box, panel);
  // Every instant that was asked for, so that nothing is drawn across a time without an answer.
  const known = panel.lines.flatMap((line) => line.values.map(([x]) => x));
  const grid = panel.loki ? [] : Array.from({ length: Math.floor((DATA.end - DATA.start) / 2) }, (_, index) => DATA.start + 2 * index);
  const xs = [...new Set([...known, ...grid.filter((x) => !known.some((other) => Math.abs(other - x) < 1))])].sort((a, b) => a - b);
  const columns = panel.lines.map((line) => {
    const at = new Map(line.values);
    return xs.map((x) => (Number.isFinite(at.get(x)) ? at.get(x) : null));
  });
  const shown = panel.stacked ? columns.map((_, index) => xs.map((_, i) => {
    let sum = null;
    for (let k = 0; k <= index; k += 1) if (columns[k][i] !== null) sum = (sum ?? 0) + columns[k][i];
    return sum;
  })) : columns;
  const order = panel.lines.map((_, index) => index);
  if (panel.stacked) order.reverse(); // the highest first, so that the others lie over it
  const series = order.map((index) => ({
    label: panel.lines[index].label,
    stroke: COLORS[index % COLORS.length],
    width: 1.2,
    fill: `${COLORS[index % COLORS.length]}${panel.stacked ? 'aa' : '14'}`,
    points: { show: xs.length < 3 },
    spanGaps: panel.loki === true,
  }));
  const most = Math.max(...shown.flat().filter((value) => value !== null), 0);
  const steps = (panel.steps ?? []).filter(([from]) => from !== null && from <= most * 1.6);
  const top = (Math.max(most, ...steps.map(([from]) => from)) || 1) * 1.08;
  const axis = { stroke: css('--weak'), grid: { stroke: css('--line'), width: 1 }, ticks: { show: false }, font: '10px DejaVu Sans' };
  const draw = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const [from, color] of steps) {
      ctx.strokeStyle = NAMED[color];
      ctx.setLineDash([6, 4]);
      const y = u.valToPos(from, 'y', true);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.strokeStyle = css('--weak');
    ctx.globalAlpha = 0.5;
    ctx.setLineDash([2, 4]);
    for (const fault of DATA.faults) {
      const x = u.valToPos(fault.at, 'x', true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
  const options = {
    width,
    height: height - 30,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { range: [DATA.start, DATA.end] }, y: { range: [0, panel.max ?? top] } },
    axes: [{ ...axis, size: 24, values: (_, values) => values.map((at) => clock(at).slice(0, 5)) }, { ...axis, size: 62, values: (_, values) => values.map((value) => format(value, panel.unit, panel.decimals === 0 ? undefined : panel.decimals)) }],
    series: [{}, ...series],
    hooks: { draw: [draw] },
  };
  new uPlot(options, [xs, ...order.map((index) => shown[index])], box);
  legends(box, panel.lines);
}

function svg(parent, width, height) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  made.setAttribute('viewBox', `0 0 ${width} ${height}`);
  made.setAttribute('preserveAspectRatio', 'none');
  parent.append(made);
  return (tag, attributes) => {
    const child = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
    made.append(child);
    return made;
  };
}

function stat(box, panel, width, height) {
  const value = panel.lines[0] && last(panel.lines[0]);
  if (value === undefined) return nothing(box, panel);
  const [text, color] = panel.texts?.[value] ?? [format(value, panel.unit, panel.decimals)];
  const shown = element('div', box, text, 'value');
  shown.style.color = NAMED[color] ?? colorOf(panel, value);
  const values = panel.lines[0].values.filter(([, y]) => Number.isFinite(y));
  const most = Math.max(...values.map(([, y]) => y), 1e-9);
  const points = values.map(([x, y]) => `${(width * (x - DATA.start)) / (DATA.end - DATA.start)},${36 - (34 * y) / most}`);
  const graph = svg(box, width, 38)('polyline', { points: points.join(' '), fill: 'none', stroke: shown.style.color, 'stroke-width': 1.2, opacity: 0.7 });
  graph.style.cssText = `position:absolute;left:8px;bottom:4px;width:${width}px;height:38px`;
}

function gauge(box, panel, width, height) {
  const value = panel.lines[0] && last(panel.lines[0]);
  if (value === undefined) return nothing(box, panel);
  const share = Math.min(1, Math.max(0, value / (panel.max ?? 100)));
  const arc = (from, to, radius) => {
    const at = (part) => [100 - radius * Math.cos(Math.PI * part), 100 - radius * Math.sin(Math.PI * part)].join(' ');
    return `M ${at(from)} A ${radius} ${radius} 0 0 1 ${at(to)}`;
  };
  const draw = svg(box, 200, 110);
  draw('path', { d: arc(0, 1, 75), stroke: css('--line'), 'stroke-width': 22, fill: 'none' });
  const bounds = [...panel.steps.map(([from]) => (from ?? 0) / 100), 1];
  panel.steps.forEach(([, color], index) => draw('path', { d: arc(bounds[index], bounds[index + 1], 92), stroke: NAMED[color], 'stroke-width': 4, fill: 'none' }));
  const made = draw('path', { d: arc(0, Math.max(share, 0.004), 75), stroke: colorOf(panel, value), 'stroke-width': 22, fill: 'none' });
  made.setAttribute('preserveAspectRatio', 'xMidYMid meet');
  made.style.cssText = `width:${width}px;height:${height - 26}px`;
  const shown = element('div', box, format(value, panel.unit), 'value');
  shown.style.cssText = `position:absolute;left:0;right:0;bottom:12px;font-size:22px;color:${colorOf(panel, value)}`;
}

function bars(box, panel) {
  if (panel.lines.length === 0) return nothing(box, panel);
  // A pod that has ended is no bar.
  const end = Math.max(...panel.lines.flatMap((line) => line.values.map(([x]) => x)));
  const present = panel.lines.filter((line) => line.values.at(-1)?.[0] === end);
  for (const line of present.sort((a, b) => last(b) - last(a)).slice(0, 8)) {
    const value = last(line);
    const row = element('div', box, undefined, 'bar');
    element('b', row, line.label);
    const fill = element('i', element('div', row));
    fill.style.cssText = `width:${Math.min(100, (100 * value) / (panel.max ?? 100))}%;background:${colorOf(panel, value)}`;
    element('span', row, format(value, panel.unit));
  }
}

function table(box, panel) {
  if (!panel.rows?.length) return nothing(box, panel);
  const made = element('table', box);
  const head = element('tr', made);
  for (const text of panel.heads) element('th', head, text);
  for (const cells of panel.rows) {
    const row = element('tr', made);
    for (const cell of cells) element('td', row, cell);
  }
}

function heatmap(box, panel, width, height) {
  const bound = (line) => (line.label === '+Inf' ? Infinity : Number(line.label));
  const lines = [...panel.lines].sort((a, b) => bound(a) - bound(b));
  if (lines.length === 0) return nothing(box, panel);
  const columns = new Map();
  lines.forEach((line, index) => {
    for (const [x, value] of line.values) {
      if (!columns.has(x)) columns.set(x, new Array(lines.length).fill(0));
      columns.get(x)[index] = Number.isFinite(value) ? value : 0;
    }
  });
  const cells = [...columns].map(([x, column]) => [x, column.map((value, index) => Math.max(0, value - (column[index - 1] ?? 0)))]);
  const most = Math.max(...cells.flatMap(([, column]) => column), 1e-9);
  const draw = svg(box, width, height - 30);
  const left = 52;
  const bottom = height - 46;
  const row = bottom / lines.length;
  const wide = Math.max(1, (width - left) / Math.max(1, cells.length));
  let made;
  for (const [x, column] of cells) {
    column.forEach((value, index) => {
      if (value <= 0) return;
      const at = left + ((width - left) * (x - DATA.start)) / (DATA.end - DATA.start);
      const share = Math.sqrt(value / most);
      made = draw('rect', { x: at, y: bottom - (index + 1) * row, width: wide + 0.4, height: row - 0.5, fill: '#f2771a', opacity: (0.15 + 0.85 * share).toFixed(2) });
    });
  }
  lines.forEach((line, index) => {
    made = draw('text', { x: left - 6, y: bottom - (index + 0.25) * row, 'text-anchor': 'end', 'font-size': 9, fill: css('--weak') });
    made.lastChild.textContent = line.label === '+Inf' ? '∞' : seconds(Number(line.label));
  });
  made.style.cssText = `width:${width}px;height:${height - 30}px`;
}

function states(box, panel, width) {
  if (panel.lines.length === 0) return nothing(box, panel);
  for (const line of panel.lines.slice(0, Math.floor((panel.place.h * UNIT - 40) / 19))) {
    const row = element('div', box, undefined, 'state');
    element('b', row, line.label);
    const draw = svg(row, 1000, 14);
    const step = 2;
    for (const [x, value] of line.values) {
      const color = panel.texts?.[value]?.[1] ?? 'blue';
      draw('rect', { x: (1000 * (x - DATA.start)) / (DATA.end - DATA.start), y: 0, width: (1000 * step) / (DATA.end - DATA.start) + 0.6, height: 14, fill: NAMED[color] });
    }
  }
  const legend = element('div', box, undefined, 'legend');
  for (const [text, color] of Object.values(panel.texts ?? {})) {
    const span = element('span', legend);
    element('i', span).style.background = NAMED[color];
    span.append(text);
  }
}

function logs(box, panel) {
  if (!panel.text?.length) return nothing(box, panel);
  const list = element('pre', box);
  for (const line of panel.text) element('span', list, line);
}

const KINDS = { time, stat, gauge, bars, table, heatmap, states, logs };

const board = document.getElementById('board');
element('h1', board, DATA.title);
element('p', board, `${DATA.about} ${clock(DATA.start)} to ${clock(DATA.end)} UTC. Dotted lines: a fault was caused.`);
const grid = element('div', board, undefined, 'grid');
const width = board.clientWidth / 24;
let bottom = 0;
for (const row of DATA.rows) element('div', grid, row.title, 'row').style.cssText = `top:${row.y * UNIT}px;height:${UNIT - GAP}px`;
for (const panel of DATA.panels) {
  const { x, y, w, h } = panel.place;
  const box = element('div', grid, undefined, 'panel');
  box.style.cssText = `left:${x * width}px;top:${y * UNIT}px;width:${w * width - GAP}px;height:${h * UNIT - GAP}px`;
  const head = element('h2', box, panel.title);
  if (panel.at) element('small', head, ` at ${clock(panel.at)}`);
  KINDS[panel.kind](box, panel, w * width - GAP - 18, h * UNIT - GAP - 28);
  bottom = Math.max(bottom, (y + h) * UNIT);
}
grid.style.height = `${bottom}px`;
document.body.dataset.drawn = 'yes';
