def make_dit_task(config): raise SystemExit
