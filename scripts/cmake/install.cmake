# `cmake --install`: programs, libraries, headers and the CMake package `octile`:
#   find_package(octile REQUIRED)
#   target_link_libraries(app PRIVATE octile::driver octile::program)
include(CMakePackageConfigHelpers)

set(octile_installed support isa numerics program ir passes codegen frontend reference driver platform iss device_host
                     device_main iss_backend session)
# The build tree can be used as a package, too, with some libraries more; octile-rtl-build does.
set(octile_build_only "")
foreach(part core_model systemc cosim)
  if(TARGET octile_${part})
    list(APPEND octile_build_only octile_${part})
    set_target_properties(octile_${part} PROPERTIES EXPORT_NAME ${part})
  endif()
endforeach()
set(octile_targets "")
foreach(part ${octile_installed})
  set(target octile_${part})
  list(APPEND octile_targets ${target})
  # Include directories of the source tree stay out of the package.
  get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set(wrapped "")
  if(NOT dirs)
    set(dirs "")  # some libraries have headers of others only
  endif()
  foreach(dir ${dirs})
    if(dir MATCHES "^\\$<INSTALL_INTERFACE")
      continue()
    elseif(dir MATCHES "^\\$<")
      list(APPEND wrapped "${dir}")
    else()
      list(APPEND wrapped "$<BUILD_INTERFACE:${dir}>")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${wrapped}" EXPORT_NAME ${part})
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

install(TARGETS ${octile_targets} EXPORT octileTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(dir runtime/support runtime/numerics runtime/program runtime/reference runtime/session compiler/ir compiler/passes
            compiler/codegen compiler/frontend driver sim/platform sim/iss sim/device)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${dir}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()
install(DIRECTORY ${OCTILE_GENERATED}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
        PATTERN "*.pb.h" EXCLUDE)

export(TARGETS ${octile_targets} ${octile_build_only} NAMESPACE octile:: FILE ${CMAKE_BINARY_DIR}/octileTargets.cmake)

# octile-rtl-build makes RTL devices of other configurations and with waveforms, of the RTL's sources.
if(OCTILE_RTL)
  set(octile_sources ${CMAKE_INSTALL_DATADIR}/octile/sources)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/rtl DESTINATION ${octile_sources})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/sim/verilated DESTINATION ${octile_sources}/sim)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/sim/device/on_demand DESTINATION ${octile_sources}/sim/device)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/driver/transport DESTINATION ${octile_sources}/driver FILES_MATCHING PATTERN "*.h")
  install(FILES ${PROJECT_SOURCE_DIR}/sim/device/src/rtl_main.cc DESTINATION ${octile_sources}/sim/device/src)

  set(OCTILE_BUILDER_SOURCES ${PROJECT_SOURCE_DIR})
  set(OCTILE_BUILDER_PACKAGE ${CMAKE_BINARY_DIR})
  set(OCTILE_BUILDER_PREFIX "")
  set(OCTILE_BUILDER_CACHE ${CMAKE_BINARY_DIR}/rtl-cache)
  configure_file(${PROJECT_SOURCE_DIR}/sim/device/on_demand/octile-rtl-build.in ${CMAKE_BINARY_DIR}/bin/octile-rtl-build @ONLY)
  # Relative to the program's folder, so that the installation may be moved.
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBEXECDIR}/octile /)
  set(OCTILE_BUILDER_PREFIX "$here/${up}")
  set(OCTILE_BUILDER_SOURCES "$here/${up}${octile_sources}")
  set(OCTILE_BUILDER_PACKAGE "$here/${up}${CMAKE_INSTALL_LIBDIR}/cmake/octile")
  set(OCTILE_BUILDER_CACHE "")
  configure_file(${PROJECT_SOURCE_DIR}/sim/device/on_demand/octile-rtl-build.in ${CMAKE_BINARY_DIR}/install/octile-rtl-build @ONLY)
  install(PROGRAMS ${CMAKE_BINARY_DIR}/install/octile-rtl-build DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/octile)
endif()

set(octile_package ${CMAKE_INSTALL_LIBDIR}/cmake/octile)
install(EXPORT octileTargets NAMESPACE octile:: DESTINATION ${octile_package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/octileConfig.cmake.in ${CMAKE_BINARY_DIR}/octileConfig.cmake
                              INSTALL_DESTINATION ${octile_package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/octileConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/octileConfig.cmake ${CMAKE_BINARY_DIR}/octileConfigVersion.cmake DESTINATION ${octile_package})
