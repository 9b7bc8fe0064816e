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
