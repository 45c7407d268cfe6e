package packaging_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// readCompose reads what a Compose file says of the service messagebus. Its health check is
// that of the image.
func readCompose(t *testing.T, name string) *packaged {
	t.Helper()
	var compose struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Command     []string          `yaml:"command"`
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(read(t, name)), &compose); err != nil {
		t.Fatal(err)
	}
	s := compose.Services["messagebus"]
	return &packaged{args: s.Command, env: s.Environment, health: readImage(t, "Dockerfile").health}
}

// readDeployment reads the container of a Deployment. A secret is "secret NAME/KEY".
func readDeployment(t *testing.T, name string) *packaged {
	t.Helper()
	var deployment struct {
		Kind string `yaml:"kind"`
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args []string `yaml:"args"`
						Env  []struct {
							Name      string `yaml:"name"`
							ValueFrom struct {
								SecretKeyRef struct {
									Name string `yaml:"name"`
									Key  string `yaml:"key"`
								} `yaml:"secretKeyRef"`
							} `yaml:"valueFrom"`
						} `yaml:"env"`
						ReadinessProbe struct {
							Exec struct {
								Command []string `yaml:"command"`
							} `yaml:"exec"`
						} `yaml:"readinessProbe"`
					} `yaml:"containers"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
	if err := yaml.NewDecoder(strings.NewReader(read(t, name))).Decode(&deployment); err != nil {
		t.Fatal(err)
	}
	if deployment.Kind != "Deployment" || len(deployment.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%s does not begin with a Deployment of one container", name)
	}
	c := deployment.Spec.Template.Spec.Containers[0]
	p := &packaged{args: c.Args, env: map[string]string{}, health: withoutProgram(t, c.ReadinessProbe.Exec.Command)}
	for _, variable := range c.Env {
		p.env[variable.Name] = "secret " + variable.ValueFrom.SecretKeyRef.Name + "/" + variable.ValueFrom.SecretKeyRef.Key
	}
	return p
}

// readImage reads the command and the health check of a Dockerfile.
func readImage(t *testing.T, name string) *packaged {
	t.Helper()
	text := strings.ReplaceAll(read(t, name), "\\\n", "")
	p := &packaged{}
	for line := range strings.Lines(text) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "CMD":
			p.args = jsonList(t, rest)
		case "HEALTHCHECK":
			_, check, _ := strings.Cut(rest, "CMD ")
			p.health = withoutProgram(t, jsonList(t, check))
		}
	}
	if p.args == nil || p.health == nil {
		t.Fatalf("%s has no CMD or no HEALTHCHECK", name)
	}
	return p
}

func jsonList(t *testing.T, text string) (list []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

func withoutProgram(t *testing.T, command []string) []string {
	t.Helper()
	if len(command) < 2 || !strings.HasSuffix(command[0], "/messagebus") {
		t.Fatalf("%q does not call messagebus", command)
	}
	return slices.Clone(command[1:])
}

// A unit is what a service of systemd runs.
type unit struct {
	kind         string
	check, start []string // after the program
}

func readUnit(t *testing.T, name string) (u unit) {
	t.Helper()
	for line := range strings.Lines(read(t, name)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "Type":
			u.kind = value
		case "ExecStartPre":
			u.check = withoutProgram(t, strings.Fields(value))
		case "ExecStart":
			u.start = withoutProgram(t, strings.Fields(value))
		}
	}
	return u
}
