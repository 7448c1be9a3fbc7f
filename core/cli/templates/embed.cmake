# Writes the templates as a table of bytes in C:
#     cmake -DOUT=FILE.c -DFOLDER=DIR "-DFILES=a;b" -P embed.cmake
set(text "/* Made of the templates by embed.cmake. */\n#include \"cli/templates.h\"\n\n")
set(rows "")
foreach(name ${FILES})
  file(READ ${FOLDER}/${name} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(MAKE_C_IDENTIFIER ${name} variable)
  string(APPEND text "static const char ${variable}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", ${variable}},\n")
endforeach()
string(APPEND text "\nconst struct sl_template sl_templates[] = {\n${rows}    {0},\n};\n")
file(WRITE ${OUT} "${text}")
