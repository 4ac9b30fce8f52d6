import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;

/**
 * The Antragsversand as a servlet, for any method that is not a safe one: each run is a line in the file that the init parameter `record` names.
 * With the init parameter `by`, the request's parameters say whether it is the Antragsversand. Mapped to anything else, it only answers. For Tomcat the package is jakarta.servlet.
 */
public final class Submission extends HttpServlet {
    private static final long serialVersionUID = 1L;

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse answer) throws IOException {
        String record = getInitParameter("record");
        String method = request.getMethod().toUpperCase();
        boolean acts = record != null && !method.equals("GET") && !method.equals("HEAD") && !method.equals("OPTIONS");
        // Reads the body to its end, as an application would.
        request.getInputStream().readAllBytes();
        acts = acts && (getInitParameter("by") == null || isRoute(request));
        String query = request.getQueryString();
        String target = request.getRequestURI() + (query == null ? "" : "?" + query);
        if (acts) {
            String line = request.getHeader("X-Front") + " " + method + " " + target + "\n";
            Files.write(Path.of(record), line.getBytes(StandardCharsets.UTF_8), StandardOpenOption.APPEND);
        }
        answer.setContentType("text/plain;charset=UTF-8");
        answer.setHeader("X-Seen", target);
        answer.getWriter().println(acts ? "versandt" : "anderes");
    }

    private static boolean isRoute(HttpServletRequest request) {
        return "antrag".equals(request.getParameter("module")) && "versand".equals(request.getParameter("action"));
    }
}
