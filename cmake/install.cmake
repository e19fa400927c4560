# `cmake --install`: honours DESTDIR, CMAKE_INSTALL_PREFIX and the variables of GNUInstallDirs. Installing activates
# nothing: a Nomad client loads what stands in its plugin_dir, and `paddock enable` puts a link there.
set(PADDOCK_UNITDIR lib/systemd/system CACHE STRING "where systemd units go, below the prefix")

install(TARGETS paddock RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/SECURITY.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
# docs/internals is for those who have the source.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs PATTERN internals EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/plugin/examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_SOURCE_DIR}/packaging/man/paddock.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/man/paddock-config.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/completions/paddock.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME paddock)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/completions/_paddock DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${CMAKE_SOURCE_DIR}/packaging/completions/paddock.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/contrib DESTINATION ${CMAKE_INSTALL_DOCDIR})
configure_file(${CMAKE_SOURCE_DIR}/packaging/systemd/paddock-metrics.service.in ${CMAKE_BINARY_DIR}/generated/paddock-metrics.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/paddock-metrics.service ${CMAKE_SOURCE_DIR}/packaging/systemd/paddock-metrics.timer
        DESTINATION ${PADDOCK_UNITDIR})
