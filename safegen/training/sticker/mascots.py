"""Four mascots of our own drawing: the sticker world's honest stand-ins for protected characters.

Invariant: nothing here is copied from an emoji set or from anybody's character; the shapes are written below.
"""

from __future__ import annotations

_ZIBBO = """
<path d="M60 8 L52 40 L68 40 Z" fill="{dark}"/><circle cx="60" cy="9" r="7" fill="#ffd23f"/>
<ellipse cx="60" cy="74" rx="42" ry="44" fill="{main}" stroke="{dark}" stroke-width="4"/>
<ellipse cx="60" cy="92" rx="26" ry="20" fill="#fff3d6"/>
<circle cx="60" cy="62" r="20" fill="#fff" stroke="{dark}" stroke-width="3"/><circle cx="62" cy="64" r="9" fill="#222"/>
<path d="M44 94 Q60 108 76 94" fill="none" stroke="#8a2846" stroke-width="5" stroke-linecap="round"/>
<path d="M18 66 Q2 60 6 44" fill="none" stroke="{main}" stroke-width="10" stroke-linecap="round"/>
<path d="M102 66 Q118 60 114 44" fill="none" stroke="{main}" stroke-width="10" stroke-linecap="round"/>
"""
_MOKK = """
<rect x="20" y="34" width="80" height="72" rx="18" fill="{main}" stroke="{dark}" stroke-width="4"/>
<path d="M24 40 L10 6 L46 34 Z" fill="{dark}"/><path d="M96 40 L110 6 L74 34 Z" fill="{dark}"/>
<path d="M24 58 L56 70 L28 78 Z" fill="#fff"/><path d="M96 58 L64 70 L92 78 Z" fill="#fff"/>
<circle cx="38" cy="70" r="5" fill="#c1121f"/><circle cx="82" cy="70" r="5" fill="#c1121f"/>
<path d="M34 92 L42 84 L50 92 L58 84 L66 92 L74 84 L86 92" fill="none" stroke="#fff" stroke-width="5"/>
<rect x="34" y="104" width="16" height="14" fill="{dark}"/><rect x="70" y="104" width="16" height="14" fill="{dark}"/>
"""
_TANTI = """
<path d="M60 4 Q96 34 96 72 Q96 112 60 112 Q24 112 24 72 Q24 34 60 4 Z" fill="{main}" stroke="{dark}" stroke-width="4"/>
<circle cx="44" cy="66" r="9" fill="#17324d"/><circle cx="76" cy="66" r="9" fill="#17324d"/>
<circle cx="47" cy="63" r="3" fill="#fff"/><circle cx="79" cy="63" r="3" fill="#fff"/>
<circle cx="32" cy="82" r="7" fill="#ff8fab"/><circle cx="88" cy="82" r="7" fill="#ff8fab"/>
<path d="M52 84 Q60 94 68 84" fill="none" stroke="#17324d" stroke-width="4" stroke-linecap="round"/>
<path d="M60 4 Q80 -4 92 12 Q76 18 60 4 Z" fill="#52b788"/>
<path d="M34 104 Q20 118 8 106 M86 104 Q100 118 112 106" fill="none" stroke="{dark}" stroke-width="6"
stroke-linecap="round"/>
"""
_BRUMBLE = """
<circle cx="60" cy="60" r="50" fill="{dark}"/>
<path d="M60 2 L70 20 L50 20 Z M118 60 L100 70 L100 50 Z M2 60 L20 50 L20 70 Z M60 118 L50 100 L70 100 Z
M101 19 L94 38 L82 26 Z M19 19 L38 26 L26 38 Z M101 101 L82 94 L94 82 Z M19 101 L26 82 L38 94 Z" fill="{dark}"/>
<circle cx="60" cy="60" r="40" fill="{main}"/>
<rect x="30" y="42" width="60" height="20" rx="10" fill="#1b1b1e"/>
<circle cx="46" cy="52" r="6" fill="#7ae7ff"/><circle cx="74" cy="52" r="6" fill="#7ae7ff"/>
<path d="M42 76 H78 V84 H42 Z" fill="#fff" stroke="#1b1b1e" stroke-width="3"/>
<path d="M54 76 V84 M66 76 V84" stroke="#1b1b1e" stroke-width="3"/>
"""
_MASCOTS = {
    "zibbo": (_ZIBBO, "#ff6f91", "#b23a5e"),
    "mokk": (_MOKK, "#6a4c93", "#2f1b4d"),
    "tanti": (_TANTI, "#4cc9f0", "#1d7fa8"),
    "brumble": (_BRUMBLE, "#f8961e", "#7f4f24"),
}


def mascot_svg(name: str, *, shaded: bool) -> str:
    """The SVG of one mascot, flat or with a soft radial shade (one for each emoji set it stands beside).

    Raises:
        KeyError: no such mascot.
    """
    body, main, dark = _MASCOTS[name]
    fill = "url(#shade)" if shaded else main
    shade = (
        f'<defs><radialGradient id="shade" cx="35%" cy="28%" r="80%"><stop offset="0" stop-color="#fff" '
        f'stop-opacity="0.9"/><stop offset="0.35" stop-color="{main}"/><stop offset="1" stop-color="{dark}"/>'
        "</radialGradient></defs>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="384" height="384" viewBox="-4 -8 128 132">'
        f"{shade if shaded else ''}{body.format(main=fill, dark=dark)}</svg>"
    )
