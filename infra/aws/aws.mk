# The targets that package Muster for AWS and deploy it. infra/aws/README.md is the story; this is what its commands do.

.PHONY: package deploy configure destroy

ARCH ?= arm64
STACK ?= muster
REGION ?= $(AWS_REGION)
CARGO_TARGET_DIR ?= target

FUNCTIONS := $(notdir $(wildcard functions/*))
# By their folders: a library below us has the name of one of them.
PACKAGE = path+file://$(CURDIR)/functions/%
TOOLS := $(CARGO_TARGET_DIR)/tools/packaging
PACKAGES := $(CARGO_TARGET_DIR)/package/$(ARCH)
TRIPLE := $(patsubst arm64,aarch64,$(ARCH))-unknown-linux-gnu
AWS = aws $(if $(REGION),--region $(REGION))
STACKS := $(CARGO_TARGET_DIR)/stacks
# A release is named by what is in it: CloudFormation notices another key, not another object under the same key. A package
# carries the time of its build, so each build is a release of its own.
RELEASE = muster/$$(cat $(PACKAGES)/*.zip | sha256sum | cut -c1-16)

# Amazon Linux 2023 has glibc 2.34. The release profile in Cargo.toml says all there is to say about optimizing; cargo-lambda's
# own idea of it would turn panics into dead environments.
package: $(TOOLS)/requirements.txt ## the functions as zips for AWS: ARCH=arm64 or x86_64
	@ls -d $$(rustc --print sysroot)/lib/rustlib/$(TRIPLE) >/dev/null 2>&1 || \
	  { echo "Rust cannot build for $(ARCH) here. Say: rustup target add $(TRIPLE), or ARCH=x86_64"; exit 1; }
	PATH="$(abspath $(TOOLS))/bin:$$PATH" cargo lambda build --locked --release --disable-optimizations --output-format zip \
	  --target $(TRIPLE).2.34 --lambda-dir $(PACKAGES) $(FUNCTIONS:%=--package $(PACKAGE))
	@cd $(PACKAGES) && for name in $(FUNCTIONS); do mv $$name/bootstrap.zip $$name.zip; done && wc -c *.zip

$(TOOLS)/requirements.txt: infra/aws/packaging.txt
	@python3 -m venv --clear $(TOOLS) || { echo "Python's venv is missing. Say: apt-get install python3-venv"; exit 1; }
	$(TOOLS)/bin/pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement $<
	cp $< $@

# The template is larger than CloudFormation takes by hand, so it travels through the same bucket as the packages. Parameters
# that are not given keep the value they have.
deploy: package ## packages and deploys: ARTIFACTS=bucket, and STACK, REGION, ARCH, PARAMETERS="Name='value' …"
	@test -n "$(ARTIFACTS)" || { echo "Say ARTIFACTS=, a bucket for packages in the stack's region (infra/aws/README.md, step 2)."; exit 64; }
	$(AWS) s3 cp $(PACKAGES) s3://$(ARTIFACTS)/$(RELEASE) --recursive --exclude '*' --include '*.zip'
	$(AWS) cloudformation deploy --stack-name $(STACK) --template-file infra/aws/template.yaml --s3-bucket $(ARTIFACTS) \
	  --s3-prefix muster/templates --capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset \
	  --parameter-overrides Architecture=$(ARCH) ArtifactBucket=$(ARTIFACTS) ArtifactPrefix=$(RELEASE) $(PARAMETERS)
	$(AWS) cloudformation describe-stacks --stack-name $(STACK) --output table --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]'

# What the stack has been told, into a file that is only replaced by another whole one.
WRITE_DOWN = mkdir -p $(STACKS) && $(AWS) cloudformation describe-stacks --stack-name $(STACK) --query 'Stacks[0].Parameters' \
  --output json > $(STACKS)/$(STACK).new && mv $(STACKS)/$(STACK).new $(STACKS)/$(STACK).json

# From the stack's parameters, and what is said as Name=value, to what CloudFormation wants: every parameter named, be it only
# to keep its value. Nothing where nothing would change, which CloudFormation takes for a mistake.
define CHANGES
($$ARGS.positional | map(index("=") as $$at | if $$at then {(.[:$$at]): .[$$at + 1:]} else error("no Name=value: " + .) end) | add)
  as $$said
| (map({(.ParameterKey): .ParameterValue}) | add) as $$now
| if $$now + $$said == $$now then [] else
    map(.ParameterKey | select($$said[.] == null) | {ParameterKey: ., UsePreviousValue: true})
    + ($$said | to_entries | map({ParameterKey: .key, ParameterValue: .value}))
  end
endef
export CHANGES

# The template and the release stay as they run, whatever is checked out here: so a change of a setting is that and no more,
# and takes no build.
configure: ## changes settings of the stack that runs, and nothing else: STACK, REGION, PARAMETERS="Name='value' …"
	@test -n "$(PARAMETERS)" || { echo "Say what: make configure PARAMETERS=\"Name='value' …\""; exit 64; }
	$(WRITE_DOWN)
	@jq "$$CHANGES" $(STACKS)/$(STACK).json --args $(PARAMETERS) > $(STACKS)/$(STACK).changes.json
	test "$$(jq length $(STACKS)/$(STACK).changes.json)" = 0 || { \
	  $(AWS) cloudformation update-stack --stack-name $(STACK) --use-previous-template --capabilities CAPABILITY_NAMED_IAM \
	    --parameters file://$(STACKS)/$(STACK).changes.json --output text && \
	  $(AWS) cloudformation wait stack-update-complete --stack-name $(STACK); }
	@echo "Done: $(STACK) runs on with" $(PARAMETERS)

# A stack that comes again over the same data begins with defaults, a retention of 400 days among them; so what was said to this
# one is written down before it goes.
destroy: ## deletes the stack STACK=… and keeps its data and a list of its parameters; says what is left
	@test "$(origin STACK)" = "command line" || { echo "Say which: make destroy STACK=$(STACK)"; exit 64; }
	$(WRITE_DOWN)
	@cat $(STACKS)/$(STACK).json && echo "These were its parameters. Keep $(STACKS)/$(STACK).json: a stack over the same data needs it."
	$(AWS) cloudformation delete-stack --stack-name $(STACK)
	$(AWS) cloudformation wait stack-delete-complete --stack-name $(STACK)
	@sed -n '/^## What is left/,/^## /{/^## /!p}' infra/aws/README.md
