"""Flask behind a front, as its documentation of reverse proxies and flask-reverse-proxy have it. Writes a line for each page and submission."""
import os

from flask import Flask, request
from flask_reverse_proxy import FlaskReverseProxied

application = Flask(__name__)
FlaskReverseProxied(application)


def record(what):
    with open(os.environ["RECORD"], "a", encoding="latin-1") as file:
        file.write(f"{what} {request.method} {request.path}\n")
    return what + "\n"


@application.post("/antrag/versand")
def submission():
    return record("versandt")


@application.get("/kfz/angebot")
def page():
    return record("seite")


@application.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@application.route("/<path:path>", methods=["GET", "POST"])
def anything(path):
    return "anderes\n"
