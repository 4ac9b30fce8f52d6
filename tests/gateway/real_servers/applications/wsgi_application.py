"""Plain WSGI that believes what middleware of several projects believes about the path. Writes a line for each page and submission."""
import os

# What is taken for the path where it is there: pywb, rack-headermap, Azure's and Envoy's idioms, IIS and its ports.
PATHS = [
    "HTTP_PATH_INFO",
    "HTTP_X_PATH_INFO",
    "HTTP_X_PATHINFO",
    "HTTP_REQUEST_URI",
    "HTTP_X_ORIGINAL_URL",
    "HTTP_X_REWRITE_URL",
    "HTTP_X_WAWS_UNENCODED_URL",
    "HTTP_X_ENVOY_ORIGINAL_PATH",
    "HTTP_X_REPLACED_PATH",
    "HTTP_X_MATCHED_PATH",
    "HTTP_X_INVOKE_PATH",
]
# What is cut from the beginning of the path: Radicale, pywb, Plack, werkzeug's ProxyFix turned round.
PREFIXES = ["HTTP_X_SCRIPT_NAME", "HTTP_SCRIPT_NAME", "HTTP_X_SCRIPTNAME", "HTTP_X_TRAVERSAL_PATH", "HTTP_X_FORWARDED_PREFIX"]


def application(environ, start_response):
    # As old servers and some middleware have it, every other character is read as `_` too.
    alias = lambda name: "".join(each if each.isalnum() else "_" for each in name).upper()
    aliases = {alias(name): value for name, value in environ.items() if isinstance(value, str)}
    path = next((aliases[name] for name in PATHS if name in aliases), environ["PATH_INFO"])
    for name in PREFIXES:
        path = path.removeprefix(aliases.get(name, ""))
    method = environ["REQUEST_METHOD"]
    what = {("POST", "/antrag/versand"): "versandt", ("GET", "/kfz/angebot"): "seite"}.get((method, path), "anderes")
    if what != "anderes":
        with open(os.environ["RECORD"], "a", encoding="latin-1") as file:
            file.write(f"{what} {method} {path}\n")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(what) + 1))])
    return [what.encode() + b"\n"]
