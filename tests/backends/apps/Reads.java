import java.util.ArrayList;
import java.util.List;

/** The response of all Java backends. */
final class Reads {
    private final StringBuilder json = new StringBuilder();

    static String[] endpoint(String path) {
        switch (path) {
            case "/api/sites": return new String[] {"list", null};
            case "/api/reports/everything": return new String[] {"everything", null};
            case "/api/query": return new String[] {"query", null};
            case "/api/lookup": return new String[] {"lookup", null};
            default:
        }
        String[] segments = path.split("/", -1);
        if (path.startsWith("/api/sites/") && segments.length > 4) return new String[] {"site", segments[3]};
        if (path.startsWith("/api/export/")) return new String[] {"query", null};
        if (path.startsWith("/static/")) return new String[] {"static", null};
        return new String[] {"none", null};
    }

    void add(String part, String way, List<String> values) {
        List<String> quoted = new ArrayList<>();
        for (String value : values) quoted.add(quote(value));
        json.append(json.length() > 0 ? "," : "");
        json.append("[" + quote(part) + "," + quote(way) + ",[" + String.join(",", quoted) + "]]");
    }

    String report(String id, String method, String path) {
        String[] found = endpoint(path);
        return "{\"id\":" + quote(id) + ",\"method\":" + quote(method) + ",\"endpoint\":" + quote(found[0]) + ",\"site\":" + quote(found[1])
            + ",\"reads\":[" + json + "],\"path\":" + quote(path) + "}";
    }

    private static String quote(String text) {
        if (text == null) return "null";
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e) quoted.append(String.format("\\u%04x", (int) c));
            else quoted.append(c);
        }
        return quoted.append('"').toString();
    }
}
