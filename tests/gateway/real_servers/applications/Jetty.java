import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.util.thread.QueuedThreadPool;

/** Jetty as it comes, on loopback, with the Antragsversand mapped: arguments are the port and the record file. */
public final class Jetty {
    public static void main(String[] arguments) throws Exception {
        Server server = new Server(new QueuedThreadPool(24));
        ServerConnector connector = new ServerConnector(server, 1, 1, new HttpConnectionFactory(new HttpConfiguration()));
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        server.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler();
        ServletHolder submission = new ServletHolder("submission", Submission.class);
        submission.setInitParameter("record", arguments[1]);
        context.addServlet(submission, "/antrag/versand/*");
        context.addServlet(new ServletHolder("else", Submission.class), "/");
        server.setHandler(context);
        server.start();
        server.join();
    }
}
