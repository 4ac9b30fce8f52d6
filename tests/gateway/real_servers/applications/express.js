// Express with method-override in every way that it offers; arguments are the port, the record file and the folder of the packages.
const [port, record, packages] = process.argv.slice(2);
const from = require("module").createRequire(packages + "/");
const express = from("express");
const override = from("method-override");
const fs = require("fs");

const application = express();
application.use(express.urlencoded({ extended: true, type: () => true }));
const every = { methods: null };
for (const getter of ["_method", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
    application.use(override(getter, every));
}
application.use(override((request) => request.query._method, every));
application.use(override((request) => request.body && request.body._method, every));
application.post("/antrag/versand", (request, answer) => {
    fs.appendFileSync(record, `${request.method} ${request.originalUrl}\n`);
    answer.set("X-Seen", request.originalUrl).type("text").send("versandt\n");
});
application.use((request, answer) => {
    answer.set("X-Seen", request.originalUrl).type("text").send("anderes\n");
});
application.use((error, request, answer, next) => answer.status(error.status || 400).type("text").send("unverstanden\n"));
application.listen(Number(port), "127.0.0.1");
