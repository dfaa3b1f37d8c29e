"""The explorer: a run → one HTML page that decodes in the browser, with no server and no request.

    page = explorer.explore(Run("runs/conv_vae"))      # runs/conv_vae/explorer.html

`content` reads from the run what the page shows, `runtime` finds LiteRT.js, `packing` turns bytes into text, and
`pages` puts them together with the files of the folder `page`: plain JavaScript modules, which need no build.
"""

from vaezoo.explorer.pages import Explored, explore

__all__ = ["Explored", "explore"]
