package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Webhook is an error when body is not what GitHub sends for the event, such as "pull_request". The
// body's action picks the schema; an event or action that GitHub does not know is an error too.
func (c *Contract) Webhook(event string, body []byte) error {
	var head struct {
		Action string `json:"action"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return fmt.Errorf("webhook %s: %w", event, err)
	}
	definition := event + "$" + cmp.Or(head.Action, "event") // a ping has no action
	schema, err := c.event(definition)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook %s: %w", definition, err)
	}
	if err := schema.Validate(v); err != nil {
		return fmt.Errorf("webhook %s: %w", definition, err)
	}
	return nil
}

func (c *Contract) event(definition string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.events[definition]; s != nil {
		return s, nil
	}
	s, err := c.compiler.Compile(schemas + "#/definitions/" + definition)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: finding its schema: %w", definition, err)
	}
	c.events[definition] = s
	return s, nil
}
