import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.logging.Logger;

/** An ordinary service that knows nothing of telemetry: it answers, and asks the next one (NEXT). */
public final class Frontend {
    private static final Logger LOG = Logger.getLogger("frontend");
    private static final HttpClient CLIENT =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] arguments) throws IOException {
        String options = System.getenv().getOrDefault("JAVA_TOOL_OPTIONS", "");
        if (System.getenv("CRASH_WITH_AGENT") != null && options.contains("-javaagent")) {
            System.err.println("frontend cannot work with an agent");
            System.exit(3);
        }
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> answer(exchange, work()));
        server.createContext("/health", exchange -> answer(exchange, "{}"));
        server.createContext("/options", exchange -> answer(exchange, options()));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println("frontend listens on " + port);
    }

    private static String work() {
        String next = System.getenv("NEXT");
        String answer = "null";
        if (next != null) {
            try {
                HttpRequest request = HttpRequest.newBuilder(URI.create(next)).timeout(Duration.ofSeconds(5)).build();
                answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString()).body();
            } catch (IOException | InterruptedException error) {
                return "{\"error\": \"" + error.getClass().getSimpleName() + "\"}";
            }
        }
        LOG.info("frontend served a request");
        return "{\"service\": \"frontend\", \"next\": " + answer + "}";
    }

    /** What the user has asked of the runtime, and got. */
    private static String options() {
        return "{\"option\": \"" + System.getProperty("application.option", "") + "\"}";
    }

    private static void answer(HttpExchange exchange, String body) throws IOException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(200, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }
}
