package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const configFlag = "config"

// maxConfigBytes is far more than all settings need.
const maxConfigBytes = 1 << 20

// addConfig adds the flag for a configuration file.
func addConfig(flags *pflag.FlagSet, target *string) {
	addString(flags, target, configFlag, "FILE", "YAML file with settings, named as the flags are; flags and the environment win over it")
}

// applySettings sets what the command line does not set from the environment,
// and what that does not from the configuration file, if the command has one.
func applySettings(flags *pflag.FlagSet, env lookup) error {
	wrong := applyEnv(flags, env)
	if f := flags.Lookup(configFlag); f != nil && f.Changed {
		text, err := readConfig(f.Value.String())
		if err != nil {
			return append(wrong, err).orNil()
		}
		wrong = append(wrong, applyConfig(flags, f.Value.String(), text)...)
	}
	return wrong.orNil()
}

func readConfig(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err == nil && len(text) > maxConfigBytes {
		err = fmt.Errorf("%s: it is longer than %d bytes", path, maxConfigBytes)
	}
	return text, err
}

// applyConfig sets flags from a YAML mapping of their names to their values.
func applyConfig(flags *pflag.FlagSet, path string, text []byte) (wrong mistakes) {
	settings, err := parseConfig(text)
	if err != nil {
		return mistakes{fmt.Errorf("%s: %w", path, err)}
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(settings); i += 2 {
		key, value := settings[i], settings[i+1]
		where := fmt.Sprintf("%s:%d", path, key.Line)
		if before, twice := lines[key.Value]; twice {
			wrong = append(wrong, fmt.Errorf("%s: %s is set in line %d already", where, clip(key.Value), before))
			continue
		}
		lines[key.Value] = key.Line
		if err := applySetting(flags, where, key, value); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", where, err))
		}
	}
	return wrong
}

// parseConfig returns the keys and values of the mapping in turn.
func parseConfig(text []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, yamlError(err)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document; one is accepted")
	}
	root := document.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return nil, nil
	case root.Kind != yaml.MappingNode:
		return nil, errors.New("it must be a YAML mapping, such as listen: 127.0.0.1:7410")
	}
	return root.Content, nil
}

// yamlError leaves out what the parser quotes: it may be a secret.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line, rest, found := strings.Cut(text, ": "); found && strings.HasPrefix(line, "line ") {
		rest, _, _ = strings.Cut(rest, "`")
		return fmt.Errorf("%s: not YAML: %s", line, rest)
	}
	return errors.New("not YAML")
}

func applySetting(flags *pflag.FlagSet, where string, key, value *yaml.Node) error {
	f := flags.Lookup(key.Value)
	if key.Kind != yaml.ScalarNode || f == nil || f.Name == configFlag || f.Name == "help" {
		return fmt.Errorf("there is no setting %q%s", clip(key.Value), suggest(flags, key.Value))
	}
	values, err := settingValues(f, value)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	if f.Changed { // on the command line, or in the environment; but it is checked
		spare, ok := f.Value.(interface{ check(texts []string) error })
		if !ok {
			return nil
		}
		err = spare.check(values)
	} else {
		err = setFrom(f, where, values)
	}
	if err != nil {
		return fmt.Errorf("%s is %q: %w", f.Name, clip(shown(f, strings.Join(values, ", "))), err)
	}
	return nil
}

// settingValues returns the texts of a setting: one scalar, or a list of them
// where the flag may be repeated.
func settingValues(f *pflag.Flag, value *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		if !repeats(f) {
			return nil, errors.New("it takes one value, not a list")
		}
		nodes = value.Content
	}
	var texts []string
	for _, node := range nodes {
		if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
			return nil, errors.New("it must be text, a number or true or false; leave it out for the default")
		}
		texts = append(texts, node.Value)
	}
	return texts, nil
}

// suggest names the settings that a wrong name may have meant.
func suggest(flags *pflag.FlagSet, name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if f := flags.Lookup(name); f != nil {
		return "; perhaps " + name
	}
	var similar []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" && len(name) > 2 && (strings.Contains(f.Name, name) || strings.Contains(name, f.Name)) {
			similar = append(similar, f.Name)
		}
	})
	if len(similar) == 0 {
		return "; they are named as the flags in \"messagebus serve --help\""
	}
	return "; perhaps " + strings.Join(similar[:min(len(similar), 3)], " or ")
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or print the settings of serve",
		Long: `Check or print the settings of serve, from its flags, the environment and a file.

The file is YAML, its keys are the flags without their dashes, and what may be
repeated is a list:

  listen: 127.0.0.1:7410
  admin-listen: 127.0.0.1:7411
  identity: jwt
  jwt-key: [/etc/messagebus/jwt.pem]
  allow-channels: [/chat/*, /news]`,
		Example: "  messagebus config check --config messagebus.yaml",
		Args:    cobra.ArbitraryArgs,
		RunE:    unknownCommand,
	}
	cmd.AddCommand(newConfigCheck(), newConfigPrint())
	return cmd
}

func newConfigCheck() *cobra.Command {
	s := defaultServe()
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the settings of serve, without starting it",
		Long: `Say what is wrong with the settings of serve, one mistake a line.

Files with keys and certificates are read; nothing is listened on, and neither the
store nor any URL is asked. Exit code 0: serve would start, 2: it would not.`,
		Example: "  messagebus config check --config messagebus.yaml",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(cmd); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), "ok"); err != nil {
				return &outputError{err}
			}
			return nil
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

func newConfigPrint() *cobra.Command {
	s := defaultServe()
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the settings that serve would have, and where each comes from",
		Long: `Print the settings that serve would have as YAML, and where each comes from.

Secrets are not printed: a key is ***, and a URL has neither user nor query.`,
		Example: "  messagebus config print --config messagebus.yaml",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printConfig(cmd.OutOrStdout(), cmd.Flags())
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

func printConfig(w io.Writer, flags *pflag.FlagSet) error {
	var out strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == configFlag || f.Name == "help" {
			return
		}
		value, where := settingNode(f), originOf(f)
		if where == "" {
			where = "default"
		}
		if value.Value == "" && len(value.Content) == 0 {
			return // it has no value, and would not be one
		}
		value.LineComment = where
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}
		line, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, value}})
		if err == nil {
			out.Write(line)
		}
	})
	if _, err := io.WriteString(w, out.String()); err != nil {
		return &outputError{err}
	}
	return nil
}

// settingNode is the value of a flag as a file would have it.
func settingNode(f *pflag.Flag) *yaml.Node {
	texts := []string{f.DefValue}
	if given := givenTo(f); len(given) > 0 {
		texts = slices.Clone(given)
	}
	for i := range texts {
		texts[i] = shown(f, texts[i])
	}
	if !repeats(f) {
		return scalar(texts[len(texts)-1])
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, text := range texts {
		if text != "" {
			list.Content = append(list.Content, scalar(text))
		}
	}
	return list
}

func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if text != "" && strings.Trim(text, "0123456789") == "" || text == "true" || text == "false" {
		n.Style, n.Tag = 0, ""
	}
	return n
}
