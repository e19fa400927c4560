# How a binary that operators run is hardened: paddock_hardening, part of every target's flags. test/release/hardening
# reads the result from the binary. Debug builds and sanitizers are left alone: FORTIFY_SOURCE needs the optimizer, and
# the sanitizers intercept the same functions themselves.
include(CheckCCompilerFlag)

add_library(paddock_hardening INTERFACE)
# No path of the building machine in texts (__FILE__) and debug information. The last option that matches counts.
target_compile_options(paddock_hardening INTERFACE
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=build)
if(CMAKE_BUILD_TYPE STREQUAL "Debug" OR NOT SANITIZER STREQUAL "none")
    return()
endif()

# Level 3 also checks objects whose size is known only at run time. A compiler without it (gcc 11) uses level 2.
target_compile_options(paddock_hardening INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
# Each compiler has those of its processor: CET is x86, branch protection is arm64.
foreach(flag -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard)
    string(MAKE_C_IDENTIFIER "HAS${flag}" has)
    check_c_compiler_flag(${flag} ${has})
    if(${has})
        target_compile_options(paddock_hardening INTERFACE ${flag})
    endif()
endforeach()
# Not cmake's POSITION_INDEPENDENT_CODE, which compiles the layers as for a shared library.
target_compile_options(paddock_hardening INTERFACE -fPIE)
target_link_options(paddock_hardening INTERFACE -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
