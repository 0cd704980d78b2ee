"""Parts of `utils/render_drinks.py`, the renderer that makes the drinks dataset."""
