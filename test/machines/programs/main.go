package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"program/gateway"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	configuration := gateway.NewConfiguration()
	configuration.Servers = gateway.ServerConfigurations{{URL: os.Args[1]}}
	api := gateway.NewAPIClient(configuration).SessionsAPI
	ctx := context.Background()

	metadata := gateway.NewSessionMetadata()
	metadata.Tags = []string{"demo"}
	metadata.AdditionalProperties = map[string]interface{}{"robot": "r2", "floor": 3}
	wish := gateway.NewSessionRequest("ada")
	wish.SetMetadata(*metadata)
	wish.SetRequiredServices([]interface{}{})
	wish.SetOptionalServices([]interface{}{"asr", map[string]string{"type": "TTS"}})
	made, _, err := api.CreateSession(ctx).SessionRequest(*wish).Execute()
	must(err)

	update := gateway.NewUpdateSessionBody()
	update.SetVisibility("shared")
	_, _, err = api.UpdateSession(ctx, made.SessionId).UpdateSessionBody(*update).Execute()
	must(err)
	session, _, err := api.GetSession(ctx, made.SessionId).Execute()
	must(err)
	_, _, err = api.GetSession(ctx, "nothing").Execute()
	refusal := err.(*gateway.GenericOpenAPIError).Model().(gateway.ErrorResponse)

	said, err := json.Marshal(map[string]any{
		"status": session.Status, "tags": session.Metadata["tags"], "robot": session.Metadata["robot"], "floor": session.Metadata["floor"],
		"visibility": session.Visibility, "error": refusal.Code,
	})
	must(err)
	fmt.Println(string(said))
}
