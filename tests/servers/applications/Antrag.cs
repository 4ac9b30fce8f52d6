using System;
using System.IO;
using System.Web;
using System.Web.SessionState;

/// <summary>The Antragsversand as an ASP.NET application has it, by its path or by two parameters, for any method that is not a safe one: each run
/// is a line in the file that the variable RECORD names.</summary>
public sealed class Antrag : IHttpHandler, IRequiresSessionState
{
    static readonly object Lock = new object();

    public bool IsReusable { get { return true; } }

    public void ProcessRequest(HttpContext context)
    {
        HttpRequest request = context.Request;
        string path = request.FilePath.ToLowerInvariant();
        string folder = request.ApplicationPath.TrimEnd('/').ToLowerInvariant();
        bool isRoute = path.StartsWith("/main") && request.QueryString["module"] == "antrag" && request.QueryString["action"] == "versand";
        bool isSafe = request.HttpMethod == "GET" || request.HttpMethod == "HEAD" || request.HttpMethod == "OPTIONS";
        bool acts = !isSafe && (isRoute || path.StartsWith(folder + "/antrag/versand"));
        if (acts) {
            lock (Lock) {
                File.AppendAllText(Environment.GetEnvironmentVariable("RECORD"), request.HttpMethod + " " + request.RawUrl + "\n");
            }
        }
        context.Response.ContentType = "text/plain";
        context.Response.AddHeader("X-Seen", request.RawUrl);
        context.Response.Write(acts ? "versandt\n" : "anderes\n");
    }
}
