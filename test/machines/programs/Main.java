import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.SessionsApi;
import org.openapitools.client.model.*;

public class Main {
    public static void main(String[] args) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri(args[0]);
        SessionsApi api = new SessionsApi(client);
        SessionMetadata metadata = new SessionMetadata().tags(List.of("demo")).putAdditionalProperty("robot", "r2").putAdditionalProperty("floor", 3);
        List<Object> wanted = List.of("asr", Map.of("type", "TTS"));
        SessionRequest wish = new SessionRequest().userIdentity("ada").metadata(metadata).requiredServices(List.of()).optionalServices(wanted);
        CreatedSession made = api.createSession(wish, null, null, null);
        api.updateSession(made.getSessionId(), new UpdateSessionBody().visibility(UpdateSessionBody.VisibilityEnum.SHARED), null, null);
        Session session = api.getSession(made.getSessionId(), null);
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("status", session.getStatus());
        for (String key : List.of("tags", "robot", "floor")) said.put(key, session.getMetadata().get(key));
        said.put("visibility", session.getVisibility());
        try {
            api.getSession("nothing", null);
        } catch (ApiException refusal) {
            said.put("error", client.getObjectMapper().readTree(refusal.getResponseBody()).get("code").asText());
        }
        System.out.println(client.getObjectMapper().writeValueAsString(said));
    }
}
