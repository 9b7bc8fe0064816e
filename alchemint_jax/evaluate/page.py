"""The fixed parts of the report page: style, script and reading notes."""

from __future__ import annotations

from alchemint_jax.worlds.sprites.shapes import COLORS

HUES = "".join(f".c-{name}{{fill:rgb{rgb};stroke:rgb{rgb}}}" for name, rgb in COLORS.items())
CSS = """
:root{color-scheme:light dark;--ink:#1b1e24;--soft:#5d6675;--line:#dfe3ea;--paper:#f6f7f9;
  --card:#fff;--good:#18794e;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#9aa3b2;--line:#2c323c;
  --paper:#111419;--card:#191d24;--good:#4cc38a;--bad:#ff8b7d}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{margin:0;font-size:1.9rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:2.6rem 0 .8rem;font-size:1.25rem}
h3{margin:1.6rem 0 .6rem;font-size:1rem;color:var(--soft)}
header p{color:var(--soft);margin:.3rem 0}
.over{text-transform:uppercase;letter-spacing:.08em;font-size:.75rem}
.tiles{display:grid;gap:.8rem;margin-top:1.5rem;
  grid-template-columns:repeat(auto-fit,minmax(170px,1fr))}
.tile,article,.plots figure{background:var(--card);border:1px solid var(--line);
  border-radius:10px;padding:.9rem}
.tile span,.tile small,.tile b{display:block}
.tile span,small,figcaption{color:var(--soft);font-size:.8rem}
.tile b{font-size:1.9rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.5rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
tbody th{text-align:left;font-weight:500}
thead th{font-size:.8rem;color:var(--soft);font-weight:500}
tbody tr:first-child{font-weight:600}
tbody tr:last-child>*{border-bottom:0}
.base{color:var(--soft)}
.plots{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(260px,380px))}
figure{margin:0}
.frame{fill:none;stroke:var(--line);stroke-width:.6}
.ideal{stroke:var(--soft);stroke-width:.4;stroke-dasharray:2 2}
circle{opacity:.75}
.gallery{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(270px,1fr))}
article p{margin:.6rem 0 .4rem}
.top{display:flex;gap:.7rem;align-items:flex-start}
video{width:150px;border-radius:6px;background:#8884;cursor:pointer;image-rendering:pixelated}
.refs{display:grid;gap:.35rem}
.refs figure{display:flex;gap:.4rem;align-items:center}
.refs img{width:44px;height:44px;border-radius:5px;border:1px solid var(--line)}
.line{display:flex;justify-content:space-between;gap:.6rem;font-size:.8rem;margin-top:.45rem}
.bars{position:relative;height:22px;background:#8881;border-radius:4px;overflow:hidden}
.bars svg{width:100%;height:100%;display:block}
.asked{fill-opacity:.18;stroke-width:1;vector-effect:non-scaling-stroke}
.shown{stroke:none}
.event{fill:var(--soft);fill-opacity:.3;stroke:var(--soft);vector-effect:non-scaling-stroke}
.head{position:absolute;top:0;bottom:0;width:1.5px;left:0;background:var(--ink)}
.good{color:var(--good)}
.bad{color:var(--bad)}
.id{display:block;margin-top:.5rem}
dt{font-weight:600}
dd{margin:0 0 .5rem;color:var(--soft)}
"""
JS = """
for (const card of document.querySelectorAll('article')) {
  const clip = card.querySelector('video'), heads = card.querySelectorAll('.head');
  clip.onclick = () => clip.paused ? clip.play() : clip.pause();
  const move = () => {
    if (clip.duration)
      for (const head of heads) head.style.left = 100 * clip.currentTime / clip.duration + '%';
    requestAnimationFrame(move);
  };
  move();
}
"""
NOTES = """<dl>
<dt>t-IOU, t-L2</dt>
<dd>Overlap of the interval asked for and the one shown (several intervals: their span), and the
root mean square error of start and end as a fraction of the duration. A subject never seen scores
0 and 1.</dd>
<dt>Frame IoU, presence, absence</dt>
<dd>The same frame by frame: overlap of the two sets of frames; share of the frames asked for that
show the subject; share of all other frames that do not.</dd>
<dt>Detected, identity</dt>
<dd>Seen at all, in the colour of the reference; and what was seen is nearest to its shape among all
shapes of the world. The right shape in another colour counts as never seen.</dd>
<dt>Likeness</dt>
<dd>How clean a shape is: overlap of its outline with that of the shape asked for, in the frames
that show the whole of it.</dd>
<dt>R@x</dt><dd>Share of subjects whose t-IOU is at least x.</dd>
<dt>Intervals of 95%</dt><dd>Bootstrap over clips (point at a figure in the table).</dd>
<dt>How it is measured</dt>
<dd>By a classical tracker that sees the clip and the references, and is not told when a subject
should be there. Baselines: every subject shown all the time; every subject shown from 25% to
75%.</dd></dl>"""
