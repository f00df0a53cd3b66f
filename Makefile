# ropewalk's build. Cargo tracks the sources; this file names none.
#
#   make            the four programs, here
#   make demo       fetch a file over 4 streams on this machine, and check it
#   make test       all tests
#   make cross      programs for small boxes, in target/TRIPLE/release; TRIPLES=
#   make test-cross these and native ones against each other
#   make lint       format, clippy, layers, papers
#   make bench      beside other tools, and hashes beside md5sum
#   make install    PREFIX=/usr/local DESTDIR=
#   make static     the four programs without a C library to load, in static/
#   make dist       dist/ropewalk-VERSION.tar.gz: sources and crates
#   make deb        dist/ropewalk_VERSION_MACHINE.deb
#   make papers     share/: man pages and completions

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo

PROGRAMS := server client sender receiver
TARGET   := target$(if $(CARGO_BUILD_TARGET),/$(CARGO_BUILD_TARGET))/release

# Said at once and in one line, rather than by the first recipe that fails. Programs that are
# built are installed without cargo, and packed where there is none: but not those of another
# machine, which cannot be asked for their version.
built := $(if $(filter-out $(wildcard $(PROGRAMS)),$(PROGRAMS)),,yes)
goals := $(filter-out clean $(if $(built),install),$(or $(MAKECMDGOALS),all))
ifneq ($(goals),)
  problem := $(shell CARGO='$(CARGO)' sh scripts/check-cargo.sh 2>&1)
  needing := $(filter-out $(if $(built),$(if $(DEB_ARCHITECTURE),,deb)),$(goals))
  ifneq ($(and $(problem),$(needing)),)
    $(error $(problem))
  endif
endif

all: $(PROGRAMS)

$(PROGRAMS): build

# Always asked of cargo, which knows what has changed.
build:
	@$(CARGO) build --release --locked --target-dir target
	@for p in $(PROGRAMS); do \
		cmp -s $(TARGET)/$$p $$p || install -m 755 $(TARGET)/$$p $$p; done

demo: all
	@sh scripts/demo.sh

test: all
	@sh test.sh

cross:
	@sh scripts/cross-build.sh $(TRIPLES)

test-cross: cross
	@bash scripts/cross-test.sh $(TRIPLES)

lint:
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@sh scripts/check-layers.sh
	@sh scripts/check-papers.sh

bench: all
	@sh scripts/bench.sh
	@sh scripts/bench-slow.sh
	@sh scripts/bench-wan.sh
	@sh scripts/bench-hash.sh

# share/ is laid out as it is installed. find fails with what `+` runs, not with what `\;` does.
install: $(if $(built),,all)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/ropewalk
	install -m 755 server $(DESTDIR)$(PREFIX)/bin/ropewalk-server
	install -m 755 client $(DESTDIR)$(PREFIX)/bin/ropewalk-client
	install -m 755 sender receiver $(DESTDIR)$(PREFIX)/libexec/ropewalk
	find share -type f -exec sh -ec \
		'for file; do install -D -m 644 "$$file" "$$0/$$file"; done' $(DESTDIR)$(PREFIX) {} +

# What share/ holds, anew from the tables of options.
papers:
	@ROPEWALK_RENEW_PAPERS=1 $(CARGO) test --locked --quiet --lib app::manual


# glibc's own static form: any toolchain has it, while one for musl is an extra, and names
# are resolved without a file of it at run time (from 2.34 on). A target has to be named, or
# the flag would be for build scripts too.
STATIC        ?= static
STATIC_BUILD  ?= target/static
STATIC_TARGET  = $(or $(CARGO_BUILD_TARGET),$(shell $(CARGO) -vV | sed -n 's/^host: //p'))

static:
	@RUSTFLAGS='$(RUSTFLAGS) -C target-feature=+crt-static' $(CARGO) build --release --locked \
		--target $(STATIC_TARGET) --target-dir $(STATIC_BUILD)
	@install -d $(STATIC)
	@install -m 755 $(PROGRAMS:%=$(STATIC_BUILD)/$(STATIC_TARGET)/release/%) $(STATIC)

dist:
	@CARGO='$(CARGO)' sh scripts/dist.sh

deb: $(if $(problem),,all)
	@sh scripts/deb.sh

clean:
	rm -rf target dist static $(PROGRAMS)

.PHONY: all build demo test cross test-cross lint bench install papers static dist deb clean $(PROGRAMS)
