import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;

/** The HttpServer of the JDK. Queries are split by hand, because it has no API for that. */
public final class JdkServer {
    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 64);
        server.setExecutor(Executors.newFixedThreadPool(2));
        server.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            Reads reads = new Reads();
            String query = exchange.getRequestURI().getRawQuery();
            List<String> values = new ArrayList<>();
            for (String pair : (query == null ? "" : query).split("&")) {
                String[] parts = pair.split("=", 2);
                if (decoded(parts[0]).equals("site") && parts.length > 1) values.add(decoded(parts[1]));
            }
            reads.add("query", "split", values);
            List<String> sites = exchange.getRequestHeaders().get("X-Site");
            reads.add("header", "getRequestHeaders", sites == null ? List.of() : sites);
            String id = exchange.getRequestHeaders().getFirst("X-Request-Id");
            byte[] content = reads.report(id, exchange.getRequestMethod(), exchange.getRequestURI().getPath()).getBytes(StandardCharsets.UTF_8);
            boolean head = exchange.getRequestMethod().equals("HEAD");
            exchange.sendResponseHeaders(200, head ? -1 : content.length);
            if (!head) exchange.getResponseBody().write(content);
            exchange.close();
        });
        server.start();
    }

    private static String decoded(String text) {
        try {
            return URLDecoder.decode(text, StandardCharsets.UTF_8);
        } catch (IllegalArgumentException error) {
            return text;
        }
    }
}
