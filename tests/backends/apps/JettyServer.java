import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.AbstractHandler;

/** Jetty with one handler. */
public final class JettyServer {
    public static void main(String[] arguments) throws Exception {
        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        server.setHandler(new AbstractHandler() {
            @Override
            public void handle(String path, Request base, HttpServletRequest request, HttpServletResponse response) throws IOException {
                base.setHandled(true);
                Reads reads = new Reads();
                String[] values = request.getParameterValues("site");
                reads.add("merged", "getParameter", one(request.getParameter("site")));
                reads.add("query", "getParameterValues", values == null ? List.of() : List.of(values));
                reads.add("header", "getHeader", one(request.getHeader("X-Site")));
                reads.add("header", "getHeaders", Collections.list(request.getHeaders("X-Site")));
                byte[] content = reads.report(request.getHeader("X-Request-Id"), request.getMethod(), path).getBytes(StandardCharsets.UTF_8);
                response.setContentType("application/json");
                response.setContentLength(content.length);
                response.getOutputStream().write(content);
            }
        });
        server.start();
        server.join();
    }

    private static List<String> one(String value) {
        return value == null ? List.of() : List.of(value);
    }
}
