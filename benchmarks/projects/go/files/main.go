package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"gopkg.in/yaml.v3"
)

func main() {
	command := &cobra.Command{Use: "sample", RunE: func(*cobra.Command, []string) error {
		told, err := yaml.Marshal(map[string]string{"said": cases.Title(language.English).String("hello")})
		fmt.Print(string(told))
		return err
	}}
	if command.Execute() != nil {
		panic("sample")
	}
}
