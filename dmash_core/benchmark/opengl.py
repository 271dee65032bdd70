"""OpenGL for rendering the MuJoCo environments only. Importing this module imports MuJoCo and dm_control's renderer
selection whatever MUJOCO_GL is and whichever libraries are installed.

At import, both packages load the library that MUJOCO_GL names and fail if it is missing, although simulation does not
need it.
"""

# mujoco is compiled and has no stubs
# pyright: reportAttributeAccessIssue=false

import atexit
import os
import platform
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module, reload

from dmash_core.errors import UserError

# The values that MuJoCo accepts (mujoco/rendering/classic/gl_context.py).
_SYSTEM = platform.system()
_OFF = ("disable", "disabled", "off", "false", "0")
_ANY = ("enable", "enabled", "on", "true", "1", "")
_LIBRARIES = {"Darwin": ("cgl", "glfw"), "Windows": ("wgl", "glfw")}.get(_SYSTEM, ("egl", "osmesa", "glfw", "glx"))
_WITHOUT_DISPLAY = {"Darwin": ("cgl",), "Windows": ("glfw",)}.get(_SYSTEM, ("egl", "osmesa"))
_INSTALL = {
    "egl": "EGL (Debian and Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri)",
    "osmesa": "OSMesa (Debian and Ubuntu: apt-get install libosmesa6)",
    "glfw": "GLFW and a display (the variable DISPLAY)",
}


def _wish() -> str:
    """The value of MUJOCO_GL, one of _OFF, _ANY and _LIBRARIES; UserError for any other value."""
    wish = os.environ.get("MUJOCO_GL", "").lower().strip()
    if wish not in (*_OFF, *_ANY, *_LIBRARIES):
        raise UserError(f"MUJOCO_GL must be unset, off or one of {', '.join(_LIBRARIES)}, not {wish!r}")
    return wish


@contextmanager
def _switched_off() -> Iterator[None]:
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
        if before is not None:
            os.environ["MUJOCO_GL"] = before


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def _import_simulators() -> None:
    if "mujoco" not in sys.modules:
        with _switched_off():
            mujoco = import_module("mujoco")
        with suppress(Exception):  # leave mujoco.Renderer in its usual state for other users
            mujoco.GLContext = reload(import_module("mujoco.rendering.classic.gl_context")).GLContext
    with warnings.catch_warnings():  # dm_control warns if there is no display
        warnings.simplefilter("ignore")
        try:
            import_module("dm_control._render")
        except Exception:  # each missing library raises a different exception
            _forget("dm_control._render")
            with _switched_off():
                import_module("dm_control._render")


_import_simulators()

import mujoco  # noqa: E402
from mujoco.rendering.classic import gl_context  # noqa: E402

_open: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()


def _close_all() -> None:
    for renderer in list(_open):
        renderer.close()


def make_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """A renderer of `model` with the library that MUJOCO_GL names, by default one that needs no display.

    It is closed at exit if it is still open. Raises UserError if there is none.
    """
    wish = _wish()
    if wish in _OFF:
        raise UserError(f"rendering is disabled by the environment variable MUJOCO_GL={wish}: unset it to render")
    libraries = _WITHOUT_DISPLAY if wish in _ANY else ({"glx": "glfw", "wgl": "glfw"}.get(wish, wish),)
    for library in libraries:
        if (renderer := _try(library, model, height, width)) is not None:
            atexit.unregister(_close_all)
            atexit.register(_close_all)  # registered after the library's handlers, so called before them
            _open.add(renderer)
            return renderer
    needed = " or ".join(_INSTALL.get(library, library) for library in libraries)
    reason = f", selected by MUJOCO_GL={wish}" if wish not in _ANY else ""
    raise UserError(f"rendering requires {needed}{reason}")


def _try(library: str, model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer | None:
    platform_before, context_before = os.environ.pop("PYOPENGL_PLATFORM", None), getattr(gl_context, "GLContext", None)
    try:
        with warnings.catch_warnings():  # GLFW warns if there is no display
            warnings.simplefilter("ignore")
            kind = import_module(f"mujoco.{library}").GLContext

            def context(*size):
                made = kind(*size)
                if library == "glfw" and not made._context:  # MuJoCo would abort the process
                    raise RuntimeError("GLFW has no window")
                return made

            gl_context.GLContext = context
            return mujoco.Renderer(model, height, width)
    except Exception:  # each missing library raises a different exception
        os.environ.pop("PYOPENGL_PLATFORM", None)
        if platform_before is not None:
            os.environ["PYOPENGL_PLATFORM"] = platform_before
        _forget("OpenGL")  # it would keep the platform that it has chosen
        _forget(f"mujoco.{library}")
        return None
    finally:
        gl_context.GLContext = context_before
