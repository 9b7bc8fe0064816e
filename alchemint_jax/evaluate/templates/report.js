// A line in each timeline follows its clip, and a click there moves the clip.
const cards = [...document.querySelectorAll('article')].map(card => ({
  clip: card.querySelector('video'),
  tracks: [...card.querySelectorAll('.track')],
  heads: [...card.querySelectorAll('.head')],
}));
for (const {clip, tracks, heads} of cards) {
  const move = () => {
    if (clip.duration)
      for (const head of heads) head.style.left = 100 * clip.currentTime / clip.duration + '%';
    if (!clip.paused) requestAnimationFrame(move);
  };
  clip.addEventListener('play', move);
  clip.addEventListener('seeked', move);
  clip.addEventListener('timeupdate', move);
  for (const track of tracks) track.onclick = event => {
    const box = track.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
    const seek = () => { clip.currentTime = share * clip.duration; };
    if (clip.duration) seek();
    else { clip.addEventListener('loadedmetadata', seek, {once: true}); clip.load(); }
  };
}
const all = document.getElementById('all');
if (all) {
  all.hidden = false;
  all.onclick = () => {
    const playing = cards.some(({clip}) => !clip.paused);
    for (const {clip} of cards) playing ? clip.pause() : clip.play();
    all.textContent = playing ? 'Play all clips' : 'Pause all clips';
  };
}
