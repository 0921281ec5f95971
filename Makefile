# SPDX-License-Identifier: GPL-2.0
#
# What a person types; `make help` explains it. How diofs.ko is built stands in
# Kbuild, what the other targets do in scripts/.

S := scripts

# With KDIR: that kernel and this host's tools, as for any module out of tree.
# Without: the prepared stock kernel and the tools of the Debian tree.
modules:
ifdef KDIR
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
else
	@$S/setup
	@$S/build-module
endif

modules_install:
ifdef KDIR
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install
else
	@echo 'modules_install needs KDIR=, the build tree of the kernel to install for' && false
endif

setup:
	@$S/setup

tools:
	@$S/setup
	@$S/build-tests

run:
	@$S/run

test:
	@$S/test

mutants:
	@$S/mutants

coverage:
	@$S/coverage

power-loss: modules tools
	@$S/power-loss

bare: tools
	@$S/bare

bench:
	@$S/bench

shell:
	@$S/shell

check:
	@$S/check

clean:
	@$S/clean

help:
	@sed 1d $S/help.txt

.PHONY: modules modules_install setup tools run test mutants coverage power-loss bare bench shell check clean help

# The steps share one source directory and one guest's worth of processors.
.NOTPARALLEL:
