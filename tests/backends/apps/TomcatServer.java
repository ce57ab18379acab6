import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

/** Tomcat with one servlet. */
public final class TomcatServer {
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[1]);
        tomcat.setPort(Integer.parseInt(arguments[0]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", new File(arguments[1]).getAbsolutePath());
        Tomcat.addServlet(context, "reads", new Servlet());
        context.addServletMappingDecoded("/*", "reads");
        tomcat.start();
        tomcat.getServer().await();
    }

    private static final class Servlet extends HttpServlet {
        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            Reads reads = new Reads();
            String[] values = request.getParameterValues("site");
            reads.add("merged", "getParameter", one(request.getParameter("site")));
            reads.add("query", "getParameterValues", values == null ? List.of() : List.of(values));
            reads.add("header", "getHeader", one(request.getHeader("X-Site")));
            reads.add("header", "getHeaders", Collections.list(request.getHeaders("X-Site")));
            String path = request.getServletPath() + (request.getPathInfo() == null ? "" : request.getPathInfo());
            byte[] content = reads.report(request.getHeader("X-Request-Id"), request.getMethod(), path).getBytes(StandardCharsets.UTF_8);
            response.setContentType("application/json");
            response.setContentLength(content.length);
            response.getOutputStream().write(content);
        }

        private static List<String> one(String value) {
            return value == null ? List.of() : List.of(value);
        }
    }
}
