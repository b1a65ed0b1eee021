module sample

go 1.19

require (
	github.com/spf13/cobra v1.7.0
	golang.org/x/text v0.9.0
	gopkg.in/yaml.v3 v3.0.1
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.5 // indirect
)
