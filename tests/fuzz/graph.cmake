# Parsers of core/config and core/graph.
sluice_fuzz_target(pipeline pipeline.c LIBS core_graph graph_fixture)
sluice_fuzz_target(catalog catalog.c LIBS core_graph)
sluice_fuzz_target(manifest manifest.c LIBS core_config)
